// The methods of TFLM's resolver, for tests: it counts what is registered.
#ifndef TESTS_RESOLVER_H_
#define TESTS_RESOLVER_H_

#include <set>
#include <string>

enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };

namespace tflite {

struct MicroOpResolver {
  std::set<std::string> added;
  unsigned int capacity = 0;

  TfLiteStatus add(const char* name) {
    return added.size() < capacity && added.insert(name).second ? kTfLiteOk : kTfLiteError;
  }
};

template <unsigned int count>
struct MicroMutableOpResolver : MicroOpResolver {
  MicroMutableOpResolver() { capacity = count; }

#define METHOD(NAME) \
  TfLiteStatus Add##NAME() { return add(#NAME); }
  METHOD(Abs)
  METHOD(Add)
  METHOD(AddN)
  METHOD(ArgMax)
  METHOD(ArgMin)
  METHOD(AssignVariable)
  METHOD(AveragePool2D)
  METHOD(BatchMatMul)
  METHOD(BatchToSpaceNd)
  METHOD(BroadcastArgs)
  METHOD(BroadcastTo)
  METHOD(CallOnce)
  METHOD(Cast)
  METHOD(Ceil)
  METHOD(Concatenation)
  METHOD(Conv2D)
  METHOD(Cos)
  METHOD(CumSum)
  METHOD(Decode)
  METHOD(DepthToSpace)
  METHOD(DepthwiseConv2D)
  METHOD(Dequantize)
  METHOD(Div)
  METHOD(DynamicUpdateSlice)
  METHOD(Elu)
  METHOD(EmbeddingLookup)
  METHOD(EthosU)
  METHOD(Equal)
  METHOD(Exp)
  METHOD(ExpandDims)
  METHOD(Fill)
  METHOD(Floor)
  METHOD(FloorDiv)
  METHOD(FloorMod)
  METHOD(FullyConnected)
  METHOD(Gather)
  METHOD(GatherNd)
  METHOD(Greater)
  METHOD(GreaterEqual)
  METHOD(HardSwish)
  METHOD(If)
  METHOD(L2Normalization)
  METHOD(L2Pool2D)
  METHOD(LeakyRelu)
  METHOD(Less)
  METHOD(LessEqual)
  METHOD(Log)
  METHOD(LogSoftmax)
  METHOD(LogicalAnd)
  METHOD(LogicalNot)
  METHOD(LogicalOr)
  METHOD(Logistic)
  METHOD(MaxPool2D)
  METHOD(Maximum)
  METHOD(Mean)
  METHOD(Minimum)
  METHOD(MirrorPad)
  METHOD(Mul)
  METHOD(Neg)
  METHOD(NotEqual)
  METHOD(Pack)
  METHOD(Pad)
  METHOD(PadV2)
  METHOD(Prelu)
  METHOD(Quantize)
  METHOD(ReadVariable)
  METHOD(ReduceAll)
  METHOD(ReduceMax)
  METHOD(ReduceMin)
  METHOD(Relu)
  METHOD(Relu6)
  METHOD(Reshape)
  METHOD(ResizeBilinear)
  METHOD(ResizeNearestNeighbor)
  METHOD(ReverseV2)
  METHOD(Round)
  METHOD(Rsqrt)
  METHOD(SelectV2)
  METHOD(Shape)
  METHOD(Sin)
  METHOD(Slice)
  METHOD(Softmax)
  METHOD(SpaceToBatchNd)
  METHOD(SpaceToDepth)
  METHOD(Split)
  METHOD(SplitV)
  METHOD(Sqrt)
  METHOD(Square)
  METHOD(SquaredDifference)
  METHOD(Squeeze)
  METHOD(StridedSlice)
  METHOD(Sub)
  METHOD(Sum)
  METHOD(Svdf)
  METHOD(Tanh)
  METHOD(Transpose)
  METHOD(TransposeConv)
  METHOD(UnidirectionalSequenceLSTM)
  METHOD(Unpack)
  METHOD(VarHandle)
  METHOD(While)
  METHOD(ZerosLike)
#undef METHOD
};

}  // namespace tflite

#endif  // TESTS_RESOLVER_H_
