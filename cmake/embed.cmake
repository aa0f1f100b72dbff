# cmake -DINPUT=file -DOUTPUT=file.c -DNAME=symbol -DHEADER=header -P embed.cmake: a file as a C array
file(READ ${INPUT} hex HEX)
string(REGEX REPLACE "(................................)" "\\1\n    " hex "${hex}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
file(WRITE ${OUTPUT} "#include \"${HEADER}\"\n\nconst unsigned char ${NAME}_text[] = {\n    ${bytes}\n    0\n};\n"
                     "const size_t ${NAME}_bytes = sizeof ${NAME}_text - 1;\n")
