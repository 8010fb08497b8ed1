# Installs BUILD_DIR into a prefix of its own, then configures and builds consumer/, which holds EXAMPLES, against it,
# and runs them.
set(prefix "${WORK_DIR}/prefix")
set(consumer "${WORK_DIR}/consumer")
# What an older version installed must not help.
file(REMOVE_RECURSE "${WORK_DIR}")

function(run)
  execute_process(COMMAND ${ARGV} COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
endfunction()

run("${CMAKE_COMMAND}" --install "${BUILD_DIR}" --prefix "${prefix}")
run("${CMAKE_COMMAND}" -S "${CMAKE_CURRENT_LIST_DIR}/consumer" -B "${consumer}" -G "${GENERATOR}"
  "-Dslicereduce_ROOT=${prefix}" "-DEXAMPLES=${EXAMPLES}" "-DCMAKE_CXX_COMPILER=${CXX_COMPILER}"
  "-DCMAKE_CXX_FLAGS=${CXX_FLAGS}" "-DCMAKE_BUILD_TYPE=${BUILD_TYPE}")
run("${CMAKE_COMMAND}" --build "${consumer}")
foreach(example sampler model communicator)
  run("${consumer}/examples/${example}")
endforeach()
run("${prefix}/bin/slicereduce" --help)
