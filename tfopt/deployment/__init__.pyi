from .file_usage import usage as usage
from .snippet import snippet as snippet
