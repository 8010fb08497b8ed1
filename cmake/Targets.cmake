# One library a folder: slicereduce_folder(NAME SOURCES ... LIGHT ... USES targets...) makes slicereduce::NAME.
# LIGHT are sources that hardly need LibTorch's headers. They go without the precompiled one: it takes GCC 3 s to
# come to its end, whatever follows. KERNELS names NAME.cu, for nvcc, and no_NAME.cpp, for where it is missing;
# CUDA likewise NAME.cpp, which calls CUDA's runtime.
function(slicereduce_folder name)
  cmake_parse_arguments(arg "" "" "SOURCES;LIGHT;KERNELS;CUDA;USES;PRIVATELY" ${ARGN})
  set(target slicereduce_${name})
  foreach(kernels ${arg_KERNELS})
    if(SLICEREDUCE_HAS_CUDA)
      list(APPEND arg_SOURCES ${kernels}.cu)
    else()
      list(APPEND arg_LIGHT no_${kernels}.cpp)
    endif()
  endforeach()
  foreach(source ${arg_CUDA})
    if(SLICEREDUCE_HAS_CUDA)
      list(APPEND arg_SOURCES ${source}.cpp)
    else()
      list(APPEND arg_LIGHT no_${source}.cpp)
    endif()
  endforeach()
  add_library(${target} STATIC ${arg_SOURCES} ${arg_LIGHT})
  set_source_files_properties(${arg_LIGHT} PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
  add_library(slicereduce::${name} ALIAS ${target})
  target_include_directories(${target} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:include/slicereduce>)
  target_link_libraries(${target} PUBLIC ${arg_USES} PRIVATE ${arg_PRIVATELY}
    $<BUILD_INTERFACE:slicereduce_warnings>)
  target_compile_features(${target} PUBLIC cxx_std_20)  # for projects that use the installed package
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
  slicereduce_precompile(${target})
  if((arg_KERNELS OR arg_CUDA) AND SLICEREDUCE_HAS_CUDA)
    target_link_libraries(${target} PRIVATE slicereduce::cudart)
  endif()
  if(arg_CUDA AND SLICEREDUCE_HAS_CUDA)
    target_include_directories(${target} SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
  endif()
  install(TARGETS ${target} EXPORT slicereduce ARCHIVE DESTINATION lib)
  install(DIRECTORY . DESTINATION include/slicereduce/${name} FILES_MATCHING PATTERN "*.hpp")
endfunction()

# Code whose speed does not matter, and whose headers take the compiler long: a tenth to a quarter of its time. (A
# precompiled header is only good with some optimization.)
set(SLICEREDUCE_OPTIMIZE_LITTLE $<$<CONFIG:Release>:-O1>)

# LibTorch's headers take 10 s a file; one precompiled header serves every target. It needs the same
# flags everywhere, so targets are only told apart by what they link.
function(slicereduce_precompile target)
  if(TARGET slicereduce_pch)
    target_precompile_headers(${target} REUSE_FROM slicereduce_pch)
  endif()
endfunction()
