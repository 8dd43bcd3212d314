# Compiles every header of a folder alone, strictly.
# usage: cmake -DCOMPILER=cc -DSTANDARD=c11 -DFOLDER=include -DDIRS=dir,dir -P headers.cmake
cmake_minimum_required(VERSION 3.18)
set(language c)
set(strict -Wstrict-prototypes -Wmissing-prototypes)
if(STANDARD MATCHES "\\+\\+")
    set(language c++)
    set(strict)
endif()
string(REPLACE "," ";" dirs "${DIRS}")
set(flags)
foreach(dir IN LISTS dirs)
    list(APPEND flags -I${dir})
endforeach()
file(GLOB_RECURSE headers ${FOLDER}/*.h)
list(LENGTH headers count)
if(count EQUAL 0)
    message(FATAL_ERROR "no headers under ${FOLDER}")
endif()
# By folder and standard: the tests run side by side.
string(MD5 id "${FOLDER} ${STANDARD}")
set(unit ${CMAKE_CURRENT_BINARY_DIR}/one_header_${id}.txt)
foreach(header IN LISTS headers)
    # From a file, since compilers warn about `#pragma once` and the like in a header given as the main file.
    file(WRITE ${unit} "#include \"${header}\"\nextern int one_header;\n")
    execute_process(
        COMMAND ${COMPILER} -std=${STANDARD} -fsyntax-only -D_POSIX_C_SOURCE=200809L -DCL_TARGET_OPENCL_VERSION=120
            -Wall -Wextra -Wpedantic -Wshadow -Wundef -Werror ${strict} ${flags} -x ${language} ${unit}
        RESULT_VARIABLE rc ERROR_VARIABLE text)
    if(NOT rc EQUAL 0)
        message(SEND_ERROR "${header} does not compile alone as ${STANDARD}:\n${text}")
    endif()
endforeach()
message(STATUS "headers: ${count} compiled alone as ${STANDARD}")
