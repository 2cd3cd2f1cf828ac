"""The report page: results as one self-contained HTML file. Needs the extra `report`."""
