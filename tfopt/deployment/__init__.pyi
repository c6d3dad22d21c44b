from .file_usage import usage as usage
from .kit.export import export as export
from .snippet import snippet as snippet
