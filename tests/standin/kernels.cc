// The kernels of lib/ops/cuda that the stand-in runs: a line for each instance that the plug-in has.
#include "standin/cuda_on_host.h"

DEFINE_DYNAMIC_SHARED(packhorse::cuda, dynamic)
