"""The same graph in other frameworks, verified on the golden data and timed together with ours."""
