#define LOWBANK_ISA avx512
#define LOWBANK_LANES 16
#include "kernels/isa/float_kernels.h"
