# The include rule as a test: which folder may include which, and which outside libraries belong to one folder alone.
# A folder may always include itself, the public headers and the C and POSIX headers.
# usage: cmake -DROOT=/path/to/repository -P layers.cmake
cmake_minimum_required(VERSION 3.18)

set(may_base)
set(may_image base)
set(may_cl base)
set(may_ref base)
set(may_ops base cl)
set(may_graph base)
set(may_quant base graph)
set(may_calib base graph quant ops run cl)
set(may_run base graph quant ops ref cl)
set(may_export base graph quant run)
set(may_cli)
set(folders base image cl ref ops graph quant calib run export cli)

# Header pattern, then the folders that may include it.
set(outside
    "^CL/=cl"
    "^clblast=cl"
    "^registry[a-z_]*\\.def$=cl"
    "^jpeglib\\.h=image"
    "^jerror\\.h=image"
    "^spng\\.h=image"
    "^sqlite3\\.h=calib"
    "^onnx\\.pb-c\\.h=export"
    "^protobuf-c/=export"
    "^xxhash\\.h=base")

set(bad 0)
set(seen 0)
macro(complain text)
    message(SEND_ERROR "${text}")
    math(EXPR bad "${bad} + 1")
endmacro()

# Sets `result` to the header names that a file includes, `<x>` and "x" alike.
function(includes_of file result)
    file(STRINGS ${file} lines REGEX "^[ \t]*#[ \t]*include[ \t]+[<\"]")
    set(found)
    foreach(line IN LISTS lines)
        string(REGEX REPLACE "^[^<\"]*[<\"]([^>\"]*)[>\"].*$" "\\1" header "${line}")
        list(APPEND found ${header})
    endforeach()
    set(${result} ${found} PARENT_SCOPE)
endfunction()

foreach(folder IN LISTS folders)
    file(GLOB files ${ROOT}/src/${folder}/*.c ${ROOT}/src/${folder}/*.h)
    foreach(file IN LISTS files)
        math(EXPR seen "${seen} + 1")
        file(RELATIVE_PATH name ${ROOT} ${file})
        includes_of(${file} headers)
        foreach(header IN LISTS headers)
            foreach(other IN LISTS folders)
                if(header MATCHES "^${other}/" AND NOT other STREQUAL folder AND NOT other IN_LIST may_${folder})
                    complain("${name} includes ${header}; src/${folder} may include: ${may_${folder}}")
                endif()
            endforeach()
            foreach(rule IN LISTS outside)
                string(REGEX REPLACE "=[a-z]*$" "" pattern "${rule}")
                string(REGEX REPLACE "^.*=" "" owner "${rule}")
                if(header MATCHES "${pattern}" AND NOT folder STREQUAL owner)
                    complain("${name} includes ${header}, which only src/${owner} may")
                endif()
            endforeach()
            if(header MATCHES "internal\\.h$" AND NOT header MATCHES "^${folder}/")
                complain("${name} includes ${header}, which is internal to its folder")
            endif()
        endforeach()
    endforeach()
endforeach()

# A new folder must be entered in the table.
file(GLOB entries RELATIVE ${ROOT}/src ${ROOT}/src/*)
foreach(entry IN LISTS entries)
    if(IS_DIRECTORY ${ROOT}/src/${entry} AND NOT entry IN_LIST folders)
        complain("src/${entry} is not in the table of tests/layers.cmake")
    endif()
endforeach()

# Users of the public interface, and the interface itself, see nothing of src.
file(GLOB_RECURSE files ${ROOT}/include/*.h ${ROOT}/docs/*.c ${ROOT}/bench/*.c ${ROOT}/bench/*.h)
foreach(file IN LISTS files)
    math(EXPR seen "${seen} + 1")
    file(RELATIVE_PATH name ${ROOT} ${file})
    includes_of(${file} headers)
    foreach(header IN LISTS headers)
        foreach(other IN LISTS folders)
            if(header MATCHES "^${other}/")
                complain("${name} includes ${header}, but only public headers are open to it")
            endif()
        endforeach()
    endforeach()
endforeach()

# Kernels include kernel headers only.
file(GLOB files ${ROOT}/kernels/*.cl ${ROOT}/kernels/*.h)
foreach(file IN LISTS files)
    math(EXPR seen "${seen} + 1")
    file(RELATIVE_PATH name ${ROOT} ${file})
    includes_of(${file} headers)
    foreach(header IN LISTS headers)
        if(header MATCHES "/" OR NOT EXISTS ${ROOT}/kernels/${header})
            complain("${name} includes ${header}, which is not in kernels/")
        endif()
    endforeach()
endforeach()

if(seen LESS 50)
    complain("only ${seen} files found under ${ROOT}")
endif()
message(STATUS "layers: ${seen} files, ${bad} broken rules")
