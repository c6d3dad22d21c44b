"""The classes and functions of Keras that a model file may be made of, by the names that files have for them.

They compute, and do nothing else: they read no file, load no module and run no text as code. Whatever is not here, of
Keras or of others, is refused in a file that is not trusted. The names of Keras 2 are among them, as its files are read
too. A test holds the list against the installed Keras, so that a class that a release adds is decided on.
"""

from __future__ import annotations

# Layers and models.
LAYERS = frozenset(
    """
    Activation ActivityRegularization AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D
    AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D Add AdditiveAttention AlphaDropout Attention
    AugMix AutoContrast Average AveragePooling1D AveragePooling2D AveragePooling3D AvgPool1D AvgPool2D AvgPool3D
    BatchNormalization BatchNormalizationV1 Bidirectional CategoryEncoding CenterCrop Concatenate
    ContrastLimitedAdaptiveHistogramEqualization Conv1D Conv1DTranspose Conv2D Conv2DTranspose Conv3D
    Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D Convolution1D Convolution1DTranspose Convolution2D
    Convolution2DTranspose Convolution3D Convolution3DTranspose Cropping1D Cropping2D Cropping3D CuDNNGRU CuDNNLSTM
    CutMix Dense DepthwiseConv1D DepthwiseConv2D Discretization Dot Dropout ELU EinsumDense Embedding Equalization
    Flatten Functional GRU GRUCell GRUV1 GRUV2 GaussianDropout GaussianNoise GlobalAveragePooling1D
    GlobalAveragePooling2D GlobalAveragePooling3D GlobalAvgPool1D GlobalAvgPool2D GlobalAvgPool3D GlobalMaxPool1D
    GlobalMaxPool2D GlobalMaxPool3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D GroupNormalization
    GroupQueryAttention HashedCrossing Hashing Identity InputLayer IntegerLookup LSTM LSTMCell LSTMV1 LSTMV2
    LayerNormalization LayerNormalizationV1 LeakyReLU LocallyConnected1D LocallyConnected2D Masking
    MaxNumBoundingBoxes MaxPool1D MaxPool2D MaxPool3D MaxPooling1D MaxPooling2D MaxPooling3D Maximum MelSpectrogram
    Minimum MixUp Model MultiHeadAttention Multiply Normalization PReLU PeepholeLSTMCell Permute Pipeline
    RMSNormalization RNN RandAugment RandomBrightness RandomColorDegeneration RandomColorJitter RandomContrast
    RandomCrop RandomElasticTransform RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale RandomHeight
    RandomHue RandomInvert RandomPerspective RandomPosterization RandomRotation RandomSaturation RandomSharpness
    RandomShear RandomTranslation RandomWidth RandomZoom ReLU RepeatVector Rescaling Reshape Resizing
    ReversibleEmbedding STFTSpectrogram SeparableConv1D SeparableConv2D SeparableConvolution1D
    SeparableConvolution2D Sequential SimpleRNN SimpleRNNCell Softmax Solarization SpatialDropout1D SpatialDropout2D
    SpatialDropout3D SpectralNormalization StackedRNNCells StringLookup Subtract SyncBatchNormalization
    TextVectorization ThresholdedReLU TimeDistributed UnitNormalization UpSampling1D UpSampling2D UpSampling3D
    Wrapper ZeroPadding1D ZeroPadding2D ZeroPadding3D
    """.split()
)
# Operations of keras.ops between layers, but for those that are given a function to run.
OPERATIONS = frozenset(
    """
    Abs Absolute AdaptiveAveragePool AdaptiveMaxPool AffineTransform All AllClose Amax Amin Angle Any Append Arange
    Arccos Arccosh Arcsin Arcsinh Arctan Arctan2 Arctanh Argmax Argmin Argpartition Argsort Array ArraySplit
    AveragePool BatchNorm BinaryCrossentropy Bincount BitwiseAnd BitwiseInvert BitwiseLeftShift BitwiseNot BitwiseOr
    BitwiseRightShift BitwiseXor BroadcastTo CDist CTCDecode CTCLoss Cast CategoricalCrossentropy Cbrt Ceil Celu
    Cholesky CholeskyInverse Clip Conjugate Conv ConvTranspose ConvertToTensor Copy Corrcoef Correlate Cos Cosh
    CountNonzero CropImages Cross Cumprod Cumsum Deg2rad DepthToSpace DepthwiseConv Det Diag Diagflat Diagonal Diff
    Conj Digitize Divide DivideNoNan DotProductAttention Dsplit Dstack Eig Eigh Einsum ElasticTransform Elu EmptyLike
    Equal Erf Erfc Erfinv Exp Exp2 ExpandDims Expm1 ExtractPatches ExtractSequences FFT FFT2 Fabs Flip Fliplr Flipud
    Floor FloorDivide Fmax Fmin Fmod Fold Full FullLike GaussianBlur Gcd Gelu Geomspace GetItem Glu Greater
    GreaterEqual HSVToRGB HardShrink HardSigmoid HardSilu HardTanh Heaviside Histogram Hsplit Hstack Hypot I0 IFFT2
    IRFFT ISTFT Imag InTopK Inner Inv IsIn Isclose Isfinite Isinf Isnan Isneginf Isposinf Isreal Kron LayerNorm Lcm
    Ldexp LeakyRelu LeftShift Less LessEqual Linspace Log Log10 Log1p Log2 LogSigmoid LogSoftmax Logaddexp
    Logaddexp2 Logdet LogicalAnd LogicalNot LogicalOr LogicalXor Logspace Logsumexp Lstsq LuFactor MapCoordinates
    Matmul MatrixRank Max MaxPool Mean Median Meshgrid Min Mod Moments Moveaxis MultiHot NanToNum Nanargmax
    Nanargmin Nancumprod Nancumsum Nanmax Nanmean Nanmedian Nanmin Nanpercentile Nanprod Nanquantile Nanstd Nansum
    Nanvar Ndim Negative Nextafter Nonzero Norm Normalize NotEqual OneHot OnesLike Outer PSNR Pad PadImages
    Percentile PerspectiveTransform Pinv Polar Power Prod Ptp Qr Quantile RFFT RGBToGrayscale RGBToHSV RMSNorm
    Rad2deg Ravel Real Rearrange Reciprocal Relu Relu6 Repeat Resize RightShift Roll Rot90 Round Rsqrt SSIM STFT SVD
    SaturateCast ScaleAndTranslate Scatter ScatterUpdate SearchSorted SegmentMax SegmentMin SegmentProd SegmentSum
    Select Selu SeparableConv Sigmoid Sign Signbit Silu Sin Sinc Sinh Size Slice SliceUpdate Slogdet SobelEdges
    SoftShrink Softplus Softsign Solve SolveTriangular Sort SpaceToDepth SparseCategoricalCrossentropy SparsePlus
    SparseSigmoid Sparsemax Split Sqrt Square Squareplus Squeeze Stack Std StopGradient Sum Swapaxes Take
    TakeAlongAxis Tan Tanh TanhShrink Tensordot Threshold Tile TopK Trace Transpose Trapezoid Tril Triu TrueDivide
    Trunc Unfold Unique UnravelIndex Unstack Vander Var Vdot View ViewAsComplex ViewAsReal Vsplit Vstack Where
    ZerosLike
    """.split()
)
# Initializers, regularizers, constraints, policies of dtypes and quantizers.
PARTS = frozenset(
    """
    AWQDTypePolicy AbsMaxQuantizer Constant DTypePolicy DTypePolicyMap Float8QuantizationConfig FloatDTypePolicy
    GPTQDTypePolicy GlorotNormal GlorotUniform HeNormal HeUniform Identity IdentityInitializer Int4DTypePolicy
    Int4QuantizationConfig Int8QuantizationConfig L1 L1L2 L2 LecunNormal LecunUniform MaxNorm MinMaxNorm NonNeg Ones
    Orthogonal OrthogonalInitializer OrthogonalRegularizer Policy QuantizationConfig QuantizedDTypePolicy
    QuantizedFloat8DTypePolicy RadialConstraint RandomNormal RandomUniform STFT STFTInitializer SeedGenerator
    TruncatedNormal UnitNorm VarianceScaling Zeros
    """.split()
)
# What a model is compiled with: optimizers, schedules, losses and metrics.
COMPILED = frozenset(
    """
    AUC Accuracy Adadelta Adafactor Adagrad Adam AdamW Adamax BinaryAccuracy BinaryCrossentropy
    BinaryFocalCrossentropy BinaryIoU CTC CategoricalAccuracy CategoricalCrossentropy CategoricalFocalCrossentropy
    CategoricalGeneralizedCrossEntropy CategoricalHinge Circle ConcordanceCorrelation CosineDecay
    CosineDecayRestarts CosineSimilarity Dice ExponentialDecay F1Score FBetaScore FalseNegatives FalsePositives Ftrl
    Hinge Huber InverseTimeDecay IoU KLD KLDivergence Lamb Lion LogCosh LogCoshError LossScaleOptimizer MAE MAPE MSE
    MSLE Mean MeanAbsoluteError MeanAbsolutePercentageError MeanIoU MeanMetricWrapper MeanRelativeError
    MeanSquaredError MeanSquaredLogarithmicError MeanTensor MultiOptimizer Muon Nadam OneHotIoU OneHotMeanIoU
    PearsonCorrelation PiecewiseConstantDecay Poisson PolynomialDecay Precision PrecisionAtRecall R2Score RMSprop
    Recall RecallAtPrecision RootMeanSquaredError SGD ScheduleFreeAdamW SensitivityAtSpecificity
    SparseCategoricalAccuracy SparseCategoricalCrossentropy SparseTopKCategoricalAccuracy SpecificityAtSensitivity
    SquaredHinge Sum TopKCategoricalAccuracy TrueNegatives TruePositives Tversky
    """.split()
)
# Activations, losses and metrics that are functions, and names of classes as old files have them.
FUNCTIONS = frozenset(
    """
    binary_accuracy binary_crossentropy binary_focal_crossentropy categorical_accuracy categorical_crossentropy
    categorical_focal_crossentropy categorical_generalized_cross_entropy categorical_hinge celu circle
    concordance_correlation constant cosine_similarity ctc dice elu exponential gelu glorot_normal glorot_uniform
    glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh he_normal he_uniform hinge huber identity
    kl_divergence kld kullback_leibler_divergence l1 l1_l2 l2 leaky_relu lecun_normal lecun_uniform linear log_cosh
    log_sigmoid log_softmax logcosh mae mape max_norm mean_absolute_error mean_absolute_percentage_error
    mean_squared_error mean_squared_logarithmic_error min_max_norm mish mse msle non_neg ones orthogonal
    orthogonal_regularizer pearson_correlation poisson radial_constraint random_normal random_uniform relu relu6
    selu sigmoid silu soft_shrink softmax softplus softsign sparse_categorical_accuracy
    sparse_categorical_crossentropy sparse_plus sparse_sigmoid sparse_top_k_categorical_accuracy sparsemax
    squared_hinge squareplus stft swish tanh tanh_shrink threshold top_k_categorical_accuracy truncated_normal
    tversky unit_norm variance_scaling zeros
    """.split()
)
# What files have in place of a value that JSON does not have.
ENCODED_VALUES = frozenset(
    """
    InputSpec TensorShape TypeSpec __bytes__ __ellipsis__ __keras_tensor__ __numpy__ __slice__ __tensor__ __tuple__
    """.split()
)
CLASSES = LAYERS | OPERATIONS | PARTS | COMPILED | ENCODED_VALUES
# Of Keras too, and run or read what a file names: what that is, before the name of the layer.
CARRIES_CODE = {
    "Lambda": "Python code in the Lambda layer",
    "__lambda__": "Python code in a function of the layer",
    "TorchModuleWrapper": "a pickle in the layer",
    "TFSMLayer": "the name of another SavedModel in the layer",
    "JaxLayer": "Python code in the JaxLayer",
    "FlaxLayer": "Python code in the FlaxLayer",
}
