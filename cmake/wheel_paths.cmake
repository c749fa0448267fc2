# The ROS wheels on PyPI were compiled in a manylinux image, and the CMake files of their interface packages
# name that image's Python headers, which no other machine has. Passed as CMAKE_PROJECT_INCLUDE by setup.py,
# this drops every missing include path from the imported targets once CMakeLists.txt has run, so that
# CMakeLists.txt itself stays what a ROS machine expects.
function(_drop_missing_include_directories)
  get_property(targets DIRECTORY "${CMAKE_SOURCE_DIR}" PROPERTY IMPORTED_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(directories ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(NOT directories)
      continue()
    endif()
    set(kept "")
    foreach(directory IN LISTS directories)
      if(EXISTS "${directory}" OR NOT IS_ABSOLUTE "${directory}")
        list(APPEND kept "${directory}")
      endif()
    endforeach()
    set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${kept}")
  endforeach()
endfunction()
cmake_language(DEFER DIRECTORY "${CMAKE_SOURCE_DIR}" CALL _drop_missing_include_directories)
