"""Several reports beside each other: ratios, histories, the tables of the talk."""
