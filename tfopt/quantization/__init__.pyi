from .aware.attachment import quantize_aware as quantize_aware
from .aware.session import Awareness as Awareness
from .aware.session import QATSession as QATSession
from .conversion import Conversion as Conversion
from .conversion import convert as convert
from .conversion import convert_with_notes as convert_with_notes
from .layer_ranking import QuantizationSensitivity as QuantizationSensitivity
from .layer_ranking import rank_layers as rank_layers
