#define LOWBANK_ISA avx2
#define LOWBANK_LANES 8
#include "kernels/cpu/float_kernels.h"
