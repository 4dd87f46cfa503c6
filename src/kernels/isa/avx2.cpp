#define LOWBANK_ISA avx2
#define LOWBANK_LANES 8
#include "kernels/isa/float_kernels.h"
