"""Validates a set of events against published numbers, or against another set.

`measurement` looks at the events (`observables`, `jets`), `judging` sets the result beside
`published` numbers with `verdicts`, `comparison` beside a second set; `tables` and `page` show it.
"""
