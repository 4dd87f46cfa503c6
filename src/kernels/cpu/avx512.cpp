#define LOWBANK_ISA avx512
#define LOWBANK_LANES 16
#include "kernels/cpu/float_kernels.h"
