#include "kernels/vector_kernels.h"

#include <c10/util/Exception.h>

namespace lowbank {

extern const VectorKernels kPortableVectors;
#ifdef __x86_64__
extern const VectorKernels kAvx2Vectors, kAvx512Vectors;
#endif

namespace {

const VectorKernels& kernels_of(VectorExtension extension) {
#ifdef __x86_64__
  if (extension == VectorExtension::kAvx512) return kAvx512Vectors;
  if (extension == VectorExtension::kAvx2) return kAvx2Vectors;
#endif
  return kPortableVectors;
}

const VectorKernels*& chosen_kernels() {
  static const VectorKernels* chosen = &kernels_of(widest_vector_extension());
  return chosen;
}

}  // namespace

VectorExtension widest_vector_extension() {
#ifdef __x86_64__
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
    return VectorExtension::kAvx512;
  }
  if (has_avx2) return VectorExtension::kAvx2;
#endif
  return VectorExtension::kPortable;
}

const VectorKernels& vector_kernels() { return *chosen_kernels(); }

void use_vector_extension(VectorExtension extension) {
  TORCH_CHECK(extension <= widest_vector_extension(),
              "use_vector_extension: this processor has no ", kernels_of(extension).name);
  chosen_kernels() = &kernels_of(extension);
}

}  // namespace lowbank
