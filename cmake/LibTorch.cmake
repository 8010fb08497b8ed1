# Imported targets for LibTorch, from a libtorch archive or a torch wheel, with or without a CUDA toolkit.
#
# find_package(Torch) is not used: with a CUDA build of LibTorch it refuses to configure where the
# toolkit is absent, and it links libtorch_cuda into programs that only need the CPU.
#
# In:  CMAKE_PREFIX_PATH (a LibTorch of the user's own, either its root or its share/cmake), then ${repo}/.venv
# Out: slicereduce::libtorch, and SLICEREDUCE_TORCH_ROOT; of a build for CUDA also slicereduce::cudart, the CUDA runtime
# that it loads, and SLICEREDUCE_CUDART, its file; and where there is NCCL, slicereduce::nccl, and
# SLICEREDUCE_NCCL_LIBRARY. Imported targets belong to a folder, so this may be included by several.

function(slicereduce_find_libtorch out)
  set(candidates)
  foreach(prefix IN LISTS CMAKE_PREFIX_PATH)
    list(APPEND candidates "${prefix}" "${prefix}/../..")
  endforeach()
  file(GLOB wheels "${SLICEREDUCE_VENV}/lib/python3*/site-packages/torch")
  list(APPEND candidates ${wheels})
  foreach(candidate IN LISTS candidates)
    if(EXISTS "${candidate}/lib/libtorch_cpu.so" AND EXISTS "${candidate}/include/ATen/ATen.h")
      get_filename_component(root "${candidate}" ABSOLUTE)
      set(${out} "${root}" PARENT_SCOPE)
      return()
    endif()
  endforeach()
  message(FATAL_ERROR
    "LibTorch was not found. Run scripts/setup, which puts it into .venv/, or name your own: "
    "-DCMAKE_PREFIX_PATH=/path/to/libtorch (looked in: ${candidates})")
endfunction()

if(NOT TARGET slicereduce::libtorch)
  if(NOT SLICEREDUCE_TORCH_ROOT OR NOT EXISTS "${SLICEREDUCE_TORCH_ROOT}/lib/libtorch_cpu.so")
    slicereduce_find_libtorch(SLICEREDUCE_TORCH_ROOT)
  endif()
  message(STATUS "LibTorch: ${SLICEREDUCE_TORCH_ROOT}")

  add_library(slicereduce::c10 SHARED IMPORTED)
  set_target_properties(slicereduce::c10 PROPERTIES
    IMPORTED_LOCATION "${SLICEREDUCE_TORCH_ROOT}/lib/libc10.so")
  add_library(slicereduce::libtorch SHARED IMPORTED)
  # libtorch.so itself is not linked: it would load libtorch_cuda.
  set_target_properties(slicereduce::libtorch PROPERTIES
    IMPORTED_LOCATION "${SLICEREDUCE_TORCH_ROOT}/lib/libtorch_cpu.so"
    INTERFACE_INCLUDE_DIRECTORIES
      "${SLICEREDUCE_TORCH_ROOT}/include;${SLICEREDUCE_TORCH_ROOT}/include/torch/csrc/api/include"
    INTERFACE_LINK_LIBRARIES slicereduce::c10)
endif()

if(NOT TARGET slicereduce::cudart)
  # In the packages beside a wheel, or in LibTorch's own folder.
  file(GLOB SLICEREDUCE_CUDART
    "${SLICEREDUCE_TORCH_ROOT}/../nvidia/*/lib/libcudart.so.*" "${SLICEREDUCE_TORCH_ROOT}/lib/libcudart*.so.*")
  if(SLICEREDUCE_CUDART)
    list(GET SLICEREDUCE_CUDART 0 SLICEREDUCE_CUDART)
    get_filename_component(SLICEREDUCE_CUDART "${SLICEREDUCE_CUDART}" ABSOLUTE)
    add_library(slicereduce::cudart SHARED IMPORTED)
    set_target_properties(slicereduce::cudart PROPERTIES IMPORTED_LOCATION "${SLICEREDUCE_CUDART}")
  endif()
endif()

if(TARGET slicereduce::cudart AND NOT TARGET slicereduce::torch_cuda)
  add_library(slicereduce::torch_cuda INTERFACE IMPORTED)
  target_link_libraries(slicereduce::torch_cuda INTERFACE
    "${SLICEREDUCE_TORCH_ROOT}/lib/libtorch_cuda.so" "${SLICEREDUCE_TORCH_ROOT}/lib/libc10_cuda.so")
endif()
if(TARGET slicereduce::cudart AND NOT TARGET slicereduce::nccl)
  # The one that LibTorch loads, or the system's.
  set(wheel "${SLICEREDUCE_TORCH_ROOT}/../nvidia/nccl")
  find_path(SLICEREDUCE_NCCL_INCLUDE_DIR nccl.h HINTS "${wheel}/include" "$ENV{CUDA_HOME}/include" /usr/local/cuda/include)
  find_library(SLICEREDUCE_NCCL_LIBRARY NAMES libnccl.so.2 nccl HINTS "${wheel}/lib" "$ENV{CUDA_HOME}/lib64" /usr/local/cuda/lib64)
  if(SLICEREDUCE_NCCL_INCLUDE_DIR AND SLICEREDUCE_NCCL_LIBRARY)
    add_library(slicereduce::nccl SHARED IMPORTED)
    set_target_properties(slicereduce::nccl PROPERTIES
      IMPORTED_LOCATION "${SLICEREDUCE_NCCL_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES "${SLICEREDUCE_NCCL_INCLUDE_DIR}")
  endif()
endif()
