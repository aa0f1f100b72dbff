# What CMakeLists.txt is written in: libraries from outside, rooms, executables.

# fm::NAME, an outside library. Looked for by header and file name, which is the same for all versions and
# distributions, while their CMake configurations differ (oneDNN's in Debian wants OpenCL's headers).
function(fm_find_library name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "HEADER;LIBRARY;PACKAGE" "")
    string(TOUPPER "FILLMARK_${name}" prefix)
    find_path(${prefix}_INCLUDE_DIR ${arg_HEADER})
    find_library(${prefix}_LIBRARY ${arg_LIBRARY})
    mark_as_advanced(${prefix}_INCLUDE_DIR ${prefix}_LIBRARY)
    if(NOT ${prefix}_INCLUDE_DIR OR NOT ${prefix}_LIBRARY)
        message(FATAL_ERROR "${arg_HEADER} or lib${arg_LIBRARY} not found. Run ci/setup.sh, or install "
                            "${arg_PACKAGE}, or give its prefix with -DCMAKE_PREFIX_PATH=...")
    endif()
    add_library(fm::${name} UNKNOWN IMPORTED GLOBAL)
    set_target_properties(fm::${name} PROPERTIES IMPORTED_LOCATION "${${prefix}_LIBRARY}"
                          INTERFACE_INCLUDE_DIRECTORIES "${${prefix}_INCLUDE_DIR}")
endfunction()

# fm_NAME, the static library of a room: all .c below its folder (FLAT: directly in it), without those
# whose name (no .c) is matched by EXCEPT. A room with no source yet has only its headers and what it uses.
function(fm_room name folder)
    cmake_parse_arguments(PARSE_ARGV 2 arg "FLAT" "EXCEPT" "USES")
    if(arg_FLAT)
        file(GLOB sources CONFIGURE_DEPENDS ${folder}/*.c)
    else()
        file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${folder}/*.c)
    endif()
    if(arg_EXCEPT)
        list(FILTER sources EXCLUDE REGEX "/(${arg_EXCEPT})\\.c$")
    endif()
    if(sources)
        add_library(fm_${name} STATIC ${sources})
        target_link_libraries(fm_${name} PUBLIC fm_flags ${arg_USES})
    else()
        add_library(fm_${name} INTERFACE)
        target_link_libraries(fm_${name} INTERFACE fm_flags ${arg_USES})
    endif()
    set_property(GLOBAL APPEND PROPERTY fm_rooms fm_${name})
endfunction()

# An executable at the top of the build folder
function(fm_executable name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;USES")
    add_executable(${name} ${arg_SOURCES})
    target_link_libraries(${name} PRIVATE ${arg_USES})
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
    set_property(GLOBAL APPEND PROPERTY fm_programs ${name})
endfunction()

# fillmark-worker-NAME: the common worker with the backend that probes/worker/backend_NAME.c hands it
function(fm_worker name backend)
    set(sources ${CMAKE_SOURCE_DIR}/probes/worker/main.c ${CMAKE_SOURCE_DIR}/probes/worker/backend_${name}.c)
    foreach(source IN LISTS sources)
        if(NOT EXISTS ${source})
            return()
        endif()
    endforeach()
    fm_executable(fillmark-worker-${name} SOURCES ${sources} USES fm_worker ${backend})
    install(TARGETS fillmark-worker-${name} RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/fillmark)
endfunction()
