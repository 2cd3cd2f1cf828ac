"""How good a set of events is: what is seen in it, beside what is published, or another set.

`measurement` looks at the events (`observables`, `jets`), `judging` sets the result beside
`published` numbers with `verdicts`, `comparison` beside a second set; `tables` and `page` show it.
"""
