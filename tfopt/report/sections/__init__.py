"""The sections of a report, one file each: artifacts in, lines of Markdown and pages with plots out."""
