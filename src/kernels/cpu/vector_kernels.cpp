#include "kernels/cpu/vector_kernels.h"

#include <c10/util/Exception.h>

namespace lowbank {

extern const VectorKernels kPortableVectors;
#ifdef __x86_64__
extern const VectorKernels kAvx2Vectors, kAvx512Vectors;
#endif

namespace {

const VectorKernels& kernels_of(CpuIsa extension) {
#ifdef __x86_64__
  if (extension == CpuIsa::kAvx512) return kAvx512Vectors;
  if (extension == CpuIsa::kAvx2) return kAvx2Vectors;
#endif
  return kPortableVectors;
}

const VectorKernels*& chosen_kernels() {
  static const VectorKernels* chosen = &kernels_of(best_cpu_isa());
  return chosen;
}

}  // namespace

const VectorKernels& vector_kernels() { return *chosen_kernels(); }

void use_cpu_isa(CpuIsa extension) {
  TORCH_CHECK(extension <= best_cpu_isa(), "use_cpu_isa: this processor has no ",
              kernels_of(extension).name);
  chosen_kernels() = &kernels_of(extension);
}

}  // namespace lowbank
