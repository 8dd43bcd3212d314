# Writes kernel files, and the headers of kernels/ they include, as one C source: strict C11 has no raw strings and
# limits the length of plain ones, so the text becomes bytes. src/cl/source.c inlines the includes at run time.
# usage: cmake -DOUT=file.c -DFILES=a.cl,b.cl -P embed.cmake
cmake_minimum_required(VERSION 3.18)
string(REPLACE "," ";" pending "${FILES}")
set(done)
set(arrays)
set(table)
while(pending)
    list(POP_FRONT pending file)
    if(file IN_LIST done)
        continue()
    endif()
    list(APPEND done ${file})
    get_filename_component(name ${file} NAME)
    get_filename_component(dir ${file} DIRECTORY)

    list(LENGTH done index)
    file(READ ${file} hex HEX)
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
    string(REGEX REPLACE "(0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,)" "\\1\n"
           bytes "${bytes}")
    string(APPEND arrays "static const unsigned char file${index}[] = {\n${bytes}0x00};\n")
    string(APPEND table "    {\"${name}\", (const char *)file${index}},\n")

    file(STRINGS ${file} includes REGEX "^[ \t]*#[ \t]*include[ \t]+\"")
    foreach(include IN LISTS includes)
        string(REGEX REPLACE "^[^\"]*\"([^\"]*)\".*$" "\\1" include "${include}")
        if(EXISTS ${dir}/${include})
            list(APPEND pending ${dir}/${include})
        else()
            message(FATAL_ERROR "${file} includes ${include}, which is not in ${dir}")
        endif()
    endforeach()
endwhile()
file(WRITE ${OUT} "/* Made by kernels/embed.cmake. */\n#include \"cl/source.h\"\n\n${arrays}\n"
     "const vq_embedded_file vq_embedded_files[] = {\n${table}    {0, 0},\n};\n")
string(REPLACE ";" " " deps "${done}")
file(WRITE ${OUT}.d "${OUT}: ${deps}\n")
