"""The same graph in other frameworks, proved on the golden data and timed beside ours."""
