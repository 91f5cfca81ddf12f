# meshsim_module(NAME SOURCES a.cpp ... USES module ... LIBRARIES target ... DATA file ...)
#
# One static library per folder. Includes are written from the project root ("units/bytes.hpp").
# DATA files are compiled into the library: `embedded_NAME()` in "NAME/embedded.hpp" finds them,
# so that the binary needs no files beside it.
function(meshsim_module name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;USES;LIBRARIES;DATA")
  add_library(meshsim_${name} STATIC ${arg_SOURCES})
  target_include_directories(meshsim_${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_link_libraries(meshsim_${name} PUBLIC ${arg_LIBRARIES})
  foreach(used IN LISTS arg_USES)
    target_link_libraries(meshsim_${name} PUBLIC meshsim_${used})
  endforeach()
  if(arg_DATA)
    set(generated ${CMAKE_CURRENT_BINARY_DIR}/embedded.cpp)
    list(TRANSFORM arg_DATA PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/ OUTPUT_VARIABLE data_files)
    add_custom_command(
      OUTPUT ${generated}
      COMMAND ${CMAKE_COMMAND} -DMODULE=${name} -DROOT=${CMAKE_CURRENT_SOURCE_DIR}
              "-DFILES=${arg_DATA}" -DOUTPUT=${generated} -P ${PROJECT_SOURCE_DIR}/cmake/embed.cmake
      DEPENDS ${data_files} ${PROJECT_SOURCE_DIR}/cmake/embed.cmake
      VERBATIM)
    target_sources(meshsim_${name} PRIVATE ${generated})
  endif()
endfunction()

# meshsim_unity(target ...): for targets whose headers take longer to read than most of their sources
# to compile: five sources read them once. clang-tidy looks at one source at a time, so not for it.
function(meshsim_unity)
  if(NOT MESHSIM_TIDY)
    set_target_properties(${ARGN} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 5)
  endif()
endfunction()
