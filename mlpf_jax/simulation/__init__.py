"""Proton collisions at 200 pile-up in a simplified CMS detector, like the public Delphes data set.

NumPy in, arrays out. `event.simulate` is the whole chain; the modules are its stages, in order:
`bank` (what Pythia made), `mixing` (pile-up), `propagation` (to the calorimeter), `tracks`,
`calorimeter` (over the cells of `grid`), `targets` and `candidates`. `portable` is the arithmetic
that gives the same bytes on every machine. `generator` makes new banks, and alone needs Pythia.

Units: GeV, T; vertices in mm, the detector in m. z is the beam line.
"""
