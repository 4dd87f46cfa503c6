#include "kernels/cpu/vector_loops.h"

namespace lowbank {

extern const VectorKernels kAvx2Vectors;
const VectorKernels kAvx2Vectors = make_vector_kernels("avx2");

}  // namespace lowbank
