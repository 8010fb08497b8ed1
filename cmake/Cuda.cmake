# slicereduce::cuda, for programs that compute on CUDA devices, SLICEREDUCE_HAS_CUDA and SLICEREDUCE_HAS_NCCL.
#
# The libraries never need it: they call LibTorch's operations on whatever device their tensors are, and a
# program brings the devices that it links. Kernels of ours need the CUDA runtime alone, which LibTorch's builds for
# CUDA load in any case. SLICEREDUCE_CUDA=AUTO takes CUDA where nvcc is found and LibTorch
# is a build for CUDA that links here; ON makes anything else an error; OFF leaves it out.
include_guard(GLOBAL)

set(SLICEREDUCE_CUDA AUTO CACHE STRING "Compute on CUDA devices: AUTO (where nvcc is found), ON or OFF")
set_property(CACHE SLICEREDUCE_CUDA PROPERTY STRINGS AUTO ON OFF)
if(NOT SLICEREDUCE_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "SLICEREDUCE_CUDA is '${SLICEREDUCE_CUDA}': expected AUTO, ON or OFF")
endif()

# Sets `out` to what stands in the way of CUDA, or to nothing.
function(slicereduce_check_cuda out)
  # CMake itself looks into PATH, CUDA_PATH and /usr/local; scripts/setup and PyTorch know CUDA_HOME too.
  if(NOT CUDAToolkit_ROOT AND EXISTS "$ENV{CUDA_HOME}/bin/nvcc")
    set(CUDAToolkit_ROOT "$ENV{CUDA_HOME}")
  endif()
  # In projects of 3.25, CMake 3.25.1 (Debian 12) marks CUDA::nvToolsExt as deprecated, and fails where there is none,
  # as in CUDA 13. This is a function: the version stays what it is elsewhere.
  set(CMAKE_MINIMUM_REQUIRED_VERSION 3.24)
  find_package(CUDAToolkit QUIET)
  set(CUDAToolkit_INCLUDE_DIRS "${CUDAToolkit_INCLUDE_DIRS}" PARENT_SCOPE)
  if(NOT CUDAToolkit_NVCC_EXECUTABLE)
    set(${out} "nvcc was not found: install the CUDA Toolkit, or name it with -DCUDAToolkit_ROOT" PARENT_SCOPE)
    return()
  endif()
  if(NOT EXISTS "${SLICEREDUCE_TORCH_ROOT}/lib/libtorch_cuda.so")
    set(${out} "LibTorch in ${SLICEREDUCE_TORCH_ROOT} is a build for the CPU only" PARENT_SCOPE)
    return()
  endif()
  if(NOT SLICEREDUCE_CUDART MATCHES "\\.so\\.${CUDAToolkit_VERSION_MAJOR}$")
    set(${out} "nvcc is of CUDA ${CUDAToolkit_VERSION_MAJOR}, but the CUDA runtime of LibTorch is '${SLICEREDUCE_CUDART}': name a toolkit of that version with -DCUDAToolkit_ROOT"
      PARENT_SCOPE)
    return()
  endif()
  include(CheckCXXSourceCompiles)
  set(CMAKE_REQUIRED_QUIET ON)
  set(CMAKE_REQUIRED_LINK_OPTIONS "LINKER:--no-as-needed")
  set(CMAKE_REQUIRED_LIBRARIES
    "${SLICEREDUCE_TORCH_ROOT}/lib/libtorch_cuda.so" "${SLICEREDUCE_TORCH_ROOT}/lib/libc10_cuda.so"
    "${SLICEREDUCE_TORCH_ROOT}/lib/libtorch_cpu.so" "${SLICEREDUCE_TORCH_ROOT}/lib/libc10.so")
  # Again each time: packages may have been added to the environment since.
  unset(SLICEREDUCE_LIBTORCH_CUDA_LINKS CACHE)
  check_cxx_source_compiles("int main() { return 0; }" SLICEREDUCE_LIBTORCH_CUDA_LINKS)
  if(NOT SLICEREDUCE_LIBTORCH_CUDA_LINKS)
    set(${out} "libtorch_cuda.so in ${SLICEREDUCE_TORCH_ROOT}/lib does not link: the wheel's CUDA packages are missing (scripts/setup installs them where nvcc is)"
      PARENT_SCOPE)
    return()
  endif()
  set(${out} "" PARENT_SCOPE)
endfunction()

set(SLICEREDUCE_HAS_CUDA OFF)
if(SLICEREDUCE_CUDA STREQUAL "OFF")
  message(STATUS "CUDA: off")
else()
  slicereduce_check_cuda(obstacle)
  if(NOT obstacle)
    set(SLICEREDUCE_HAS_CUDA ON)
    message(STATUS "CUDA: on (${CUDAToolkit_NVCC_EXECUTABLE})")
  elseif(SLICEREDUCE_CUDA STREQUAL "ON")
    message(FATAL_ERROR "SLICEREDUCE_CUDA=ON, but ${obstacle}")
  else()
    message(STATUS "CUDA: off (${obstacle})")
  endif()
endif()

if(SLICEREDUCE_HAS_CUDA)
  # Compiled for the generations that this nvcc knows, of those that are used for training; newer ones than all of
  # them compile the last one's PTX when a program starts.
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    execute_process(COMMAND "${CUDAToolkit_NVCC_EXECUTABLE}" --list-gpu-arch OUTPUT_VARIABLE known)
    foreach(generation 75 80 90 100 120)
      if(known MATCHES "compute_${generation}\n")
        list(APPEND CMAKE_CUDA_ARCHITECTURES ${generation}-real)
        set(last ${generation})
      endif()
    endforeach()
    list(APPEND CMAKE_CUDA_ARCHITECTURES ${last}-virtual)
  endif()
  set(CMAKE_CUDA_COMPILER "${CUDAToolkit_NVCC_EXECUTABLE}")
  if(CMAKE_CXX_COMPILER_LAUNCHER AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
    set(CMAKE_CUDA_COMPILER_LAUNCHER "${CMAKE_CXX_COMPILER_LAUNCHER}")
  endif()
  enable_language(CUDA)
  set(CMAKE_CUDA_STANDARD 17)  # CMake 3.25 knows no later one for nvcc
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  set(CMAKE_CUDA_RUNTIME_LIBRARY None)  # but slicereduce::cudart; nvcc would link its toolkit's
endif()

set(SLICEREDUCE_HAS_NCCL OFF)
if(SLICEREDUCE_HAS_CUDA AND TARGET slicereduce::nccl)
  set(SLICEREDUCE_HAS_NCCL ON)
  message(STATUS "NCCL: on (${SLICEREDUCE_NCCL_LIBRARY})")
elseif(SLICEREDUCE_HAS_CUDA)
  message(STATUS "NCCL: off (nccl.h or libnccl.so.2 was not found: several workers reduce in host memory)")
endif()

add_library(slicereduce_cuda INTERFACE)
add_library(slicereduce::cuda ALIAS slicereduce_cuda)
if(SLICEREDUCE_HAS_CUDA)
  # Nothing refers to libtorch_cuda by name: its operations register when it is loaded.
  target_link_options(slicereduce_cuda INTERFACE "LINKER:--no-as-needed")
  target_link_libraries(slicereduce_cuda INTERFACE slicereduce::torch_cuda)
endif()
