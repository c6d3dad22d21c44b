"""Reports of a run: the table and progress on the terminal, `report.json`, `report.md` and pages with plots."""
