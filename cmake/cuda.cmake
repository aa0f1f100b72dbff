# The cuda backend's own kernels. CMake's own CUDA language is not used: its check links and runs, and a machine without
# CUDA must be able to build all the rest.

# An object of a .cu file by an explicit command line; appended to the list named OUT
function(fm_cu_object out source folder)
    get_filename_component(name ${source} NAME_WE)
    set(object ${CMAKE_CURRENT_BINARY_DIR}/${folder}/${name}.o)
    add_custom_command(OUTPUT ${object}
                       COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_CURRENT_BINARY_DIR}/${folder}
                       COMMAND ${ARGN} -MD -MF ${object}.d -c ${source} -o ${object}
                       DEPENDS ${source} DEPFILE ${object}.d VERBATIM COMMENT "Kernels ${folder}/${name}")
    set_source_files_properties(${object} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
    set(${out} ${${out}} ${object} PARENT_SCOPE)
endfunction()

# A static library of such objects and of C files
function(fm_cu_library target)
    add_library(${target} STATIC EXCLUDE_FROM_ALL ${ARGN})
    set_target_properties(${target} PROPERTIES LINKER_LANGUAGE C)
    target_link_libraries(${target} PUBLIC fm_cuda_plan)
endfunction()

# Which GPUs: compute capabilities without the dot; the last one also as PTX, for what comes after it
set(FILLMARK_CUDA_ARCHITECTURES 75 80 86 89 90 100 120 CACHE STRING "GPU architectures that kernels are compiled for")

# fm_cuda_kernels, where nvcc is found: for real GPUs. Whoever links it links cudart too.
function(fm_cuda_kernels)
    find_program(FILLMARK_NVCC nvcc HINTS $ENV{CUDA_HOME}/bin $ENV{CUDA_PATH}/bin /usr/local/cuda/bin
                 DOC "CUDA's compiler; without it there is no cuda worker")
    mark_as_advanced(FILLMARK_NVCC)
    if(NOT FILLMARK_NVCC)
        return()
    endif()
    set(command ${FILLMARK_NVCC} -std=c++17 -O3 -I${CMAKE_SOURCE_DIR} -Werror all-warnings
                -Xcompiler -Wall,-Wextra,-Wshadow,-fno-exceptions,-fPIC)
    foreach(sm IN LISTS FILLMARK_CUDA_ARCHITECTURES)
        list(APPEND command -gencode arch=compute_${sm},code=sm_${sm})
    endforeach()
    list(GET FILLMARK_CUDA_ARCHITECTURES -1 last)
    list(APPEND command -gencode arch=compute_${last},code=compute_${last})
    set(objects "")
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/probes/backends/cuda/kernels/*.cu)
    foreach(source IN LISTS sources)
        fm_cu_object(objects ${source} cuda_kernels ${command})
    endforeach()
    fm_cu_library(fm_cuda_kernels ${objects} ${CMAKE_SOURCE_DIR}/probes/backends/cuda/kernels/table.c)
endfunction()

# fillmark-worker-cuda, where nvcc is found: with all programs if there is a GPU (AUTO) or it is asked for (ON), else as a
# target of its own, since its kernels take minutes to compile.
set(FILLMARK_CUDA AUTO CACHE STRING "Worker for NVIDIA GPUs: AUTO (built with the rest where there is a GPU), ON, OFF")
function(fm_cuda_worker)
    # the kernels, all of them, and CUDA's runtime
    foreach(part elementwise copy random reduce rows norm resample optimizer depthwise)
        if(NOT EXISTS ${CMAKE_SOURCE_DIR}/probes/backends/cuda/kernels/${part}.cu)
            return()
        endif()
    endforeach()
    if(NOT TARGET fm_cuda_kernels OR FILLMARK_CUDA STREQUAL OFF)
        return()
    endif()
    get_filename_component(bin ${FILLMARK_NVCC} DIRECTORY)
    find_library(FILLMARK_CUDART_STATIC cudart_static HINTS ${bin}/../lib64 ${bin}/../lib)
    mark_as_advanced(FILLMARK_CUDART_STATIC)
    if(NOT FILLMARK_CUDART_STATIC)
        message(STATUS "fillmark-worker-cuda is left out: nvcc is here, libcudart_static.a is not")
        return()
    endif()
    set(uses fm_worker fm_backend_cuda fm_cuda_kernels ${FILLMARK_CUDART_STATIC} rt stdc++)
    set(sources ${CMAKE_SOURCE_DIR}/probes/worker/main.c ${CMAKE_SOURCE_DIR}/probes/worker/backend_cuda.c)
    if(FILLMARK_CUDA STREQUAL ON OR EXISTS /dev/nvidiactl)
        fm_executable(fillmark-worker-cuda SOURCES ${sources} USES ${uses})
        install(TARGETS fillmark-worker-cuda RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/fillmark)
    else()
        add_executable(fillmark-worker-cuda EXCLUDE_FROM_ALL ${sources})
        target_link_libraries(fillmark-worker-cuda PRIVATE ${uses})
        set_target_properties(fillmark-worker-cuda PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
    endif()
endfunction()

# fm_cuda_shim, where the C compiler compiles C++ too: the same files for the CPU (tests/cuda/shim)
function(fm_cuda_shim)
    file(WRITE ${CMAKE_BINARY_DIR}/cplusplus.cpp "#include <math.h>\nint main() { return 0; }\n")
    execute_process(COMMAND ${CMAKE_C_COMPILER} -std=c++17 -fsyntax-only ${CMAKE_BINARY_DIR}/cplusplus.cpp
                    RESULT_VARIABLE result OUTPUT_QUIET ERROR_QUIET)
    if(result)
        message(STATUS "${CMAKE_C_COMPILER} compiles no C++: the tests of the CUDA kernels are left out")
        return()
    endif()
    string(TOUPPER "${CMAKE_BUILD_TYPE}" type)
    separate_arguments(flags UNIX_COMMAND "${CMAKE_C_FLAGS} ${CMAKE_C_FLAGS_${type}}")
    set(command ${CMAKE_C_COMPILER} ${flags} -std=c++17 -I${CMAKE_SOURCE_DIR}
                -include ${CMAKE_SOURCE_DIR}/tests/cuda/shim/shim.hpp -fno-exceptions -fno-rtti -fno-strict-aliasing
                -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wno-unknown-pragmas -Werror -x c++)
    set(objects "")
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/probes/backends/cuda/kernels/*.cu
         ${CMAKE_SOURCE_DIR}/tests/cuda/shim/*.cu)
    foreach(source IN LISTS sources)
        fm_cu_object(objects ${source} cuda_shim ${command})
    endforeach()
    fm_cu_library(fm_cuda_shim ${objects} ${CMAKE_SOURCE_DIR}/probes/backends/cuda/kernels/table.c
                  ${CMAKE_SOURCE_DIR}/tests/cuda/shim/shim.c)
endfunction()
