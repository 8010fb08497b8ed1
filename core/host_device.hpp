#pragma once

/// For arithmetic that kernels and the CPU's tests of it share. What is marked, and what it includes, is
/// C++17: CMake 3.25 knows no later one for nvcc.
#ifdef __CUDACC__
#define SLICEREDUCE_HOST_DEVICE __host__ __device__
#else
#define SLICEREDUCE_HOST_DEVICE
#endif
