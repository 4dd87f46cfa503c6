#include "kernels/cpu/vector_loops.h"

namespace lowbank {

extern const VectorKernels kAvx512Vectors;
const VectorKernels kAvx512Vectors = make_vector_kernels("avx512");

}  // namespace lowbank
