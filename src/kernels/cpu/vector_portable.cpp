#include "kernels/cpu/vector_loops.h"

namespace lowbank {

extern const VectorKernels kPortableVectors;
const VectorKernels kPortableVectors = make_vector_kernels("portable");

}  // namespace lowbank
