# Compiles every registry row's file with its options in clang's front end, warnings as errors, and fails for kernel
# files that no row names. x86 with AVX-512 is the target, so that the constraints of inline assembly are checked too.
# Variants share the signature of their op and helpers live in headers, so parameters and functions may go unused.
# usage: cmake -DCLANG=clang -DKERNELS=kernels -DLIST=list_kernels -P lint.cmake
cmake_minimum_required(VERSION 3.18)
if(NOT CLANG)
    message(STATUS "lint: skipped, no clang found")
    return()
endif()
execute_process(COMMAND ${LIST} OUTPUT_VARIABLE text RESULT_VARIABLE rc)
if(NOT rc EQUAL 0)
    message(FATAL_ERROR "${LIST} failed: ${rc}")
endif()
string(REGEX REPLACE "\n$" "" text "${text}")
string(REPLACE "\n" ";" rows "${text}")
set(named)
set(done)
foreach(row IN LISTS rows)
    string(REPLACE "|" ";" fields "${row}")
    list(GET fields 0 name)
    list(GET fields 1 file)
    list(GET fields 2 options)
    list(APPEND named ${file})
    if("${file}|${options}" IN_LIST done)
        continue()
    endif()
    if(options MATCHES "-DVQ_(DOT|MMA)=[1-9]")
        continue() # a GPU's instructions: kernels_offline compiles them for GPUs
    endif()
    list(APPEND done "${file}|${options}")
    separate_arguments(args UNIX_COMMAND "${options}")
    execute_process(
        COMMAND ${CLANG} -x cl -cl-std=CL1.2 -Xclang -finclude-default-header -target x86_64-unknown-linux-gnu
            -march=skylake-avx512 -mavx512vnni -fsyntax-only -Wall -Wextra -Wno-unused-parameter -Wno-unused-function -Wshadow -Wundef -Werror -I ${KERNELS}
            ${args} ${KERNELS}/${file}
        RESULT_VARIABLE rc ERROR_VARIABLE log)
    if(NOT rc EQUAL 0)
        message(SEND_ERROR "${name} (${file} ${options}):\n${log}")
    endif()
endforeach()
file(GLOB files RELATIVE ${KERNELS} ${KERNELS}/*.cl)
foreach(file IN LISTS files)
    if(NOT file IN_LIST named)
        message(SEND_ERROR "kernels/${file} is named by no row of the registry")
    endif()
endforeach()
list(LENGTH done count)
message(STATUS "lint: ${count} programs")
