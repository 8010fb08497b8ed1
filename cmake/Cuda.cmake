# slicereduce::cuda, for programs that compute on CUDA devices, and SLICEREDUCE_HAS_CUDA.
#
# The libraries never need it: they call LibTorch's operations on whatever device their tensors are, and a
# program brings the devices that it links. SLICEREDUCE_CUDA=AUTO takes CUDA where nvcc is found and LibTorch
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
  find_package(CUDAToolkit QUIET)
  if(NOT CUDAToolkit_NVCC_EXECUTABLE)
    set(${out} "nvcc was not found: install the CUDA Toolkit, or name it with -DCUDAToolkit_ROOT" PARENT_SCOPE)
    return()
  endif()
  if(NOT EXISTS "${SLICEREDUCE_TORCH_ROOT}/lib/libtorch_cuda.so")
    set(${out} "LibTorch in ${SLICEREDUCE_TORCH_ROOT} is a build for the CPU only" PARENT_SCOPE)
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

add_library(slicereduce_cuda INTERFACE)
add_library(slicereduce::cuda ALIAS slicereduce_cuda)
if(SLICEREDUCE_HAS_CUDA)
  # Nothing refers to libtorch_cuda by name: its operations register when it is loaded.
  target_link_options(slicereduce_cuda INTERFACE "LINKER:--no-as-needed")
  target_link_libraries(slicereduce_cuda INTERFACE
    "${SLICEREDUCE_TORCH_ROOT}/lib/libtorch_cuda.so" "${SLICEREDUCE_TORCH_ROOT}/lib/libc10_cuda.so")
endif()
