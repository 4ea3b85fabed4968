# What is installed, and the three Debian packages (make deb): one a program, so that an edge on a bare
# machine brings nothing else.  Layout and names are Debian's; `cmake --install --prefix` works all the same.
include(GNUInstallDirs)
set(PENSTOCK_MAINTAINER "The Penstock authors <penstock@example.invalid>")
set(PENSTOCK_UNIT_DIR lib/systemd/system)
execute_process(COMMAND date -u -R -d ${PENSTOCK_DATE} OUTPUT_VARIABLE PENSTOCK_DEB_DATE OUTPUT_STRIP_TRAILING_WHITESPACE)
find_program(GZIP gzip REQUIRED)
set(packaging ${CMAKE_SOURCE_DIR}/packaging)

# penstock_printed(name file options...): what the program prints with these options, as build/share/<file>.
function(penstock_printed name file)
    set(out ${CMAKE_BINARY_DIR}/share/${file})
    add_custom_command(OUTPUT ${out} DEPENDS penstock-${name} VERBATIM
        COMMAND sh -c "mkdir -p \"$(dirname $0)\" && \"$@\" >\"$0.tmp\" && mv \"$0.tmp\" \"$0\"" ${out}
            ${CMAKE_CROSSCOMPILING_EMULATOR} $<TARGET_FILE:penstock-${name}> ${ARGN})
    set_property(GLOBAL APPEND PROPERTY PENSTOCK_PRINTED ${out})
endfunction()

# penstock_installed(name): program, manual pages, completions, unit, configuration, as component <name>.
function(penstock_installed name)
    set(NAME ${name})
    set(share ${CMAKE_BINARY_DIR}/share)
    set(doc ${CMAKE_INSTALL_DATAROOTDIR}/doc/penstock-${name})
    install(TARGETS penstock-${name} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT ${name})
    install(FILES ${packaging}/systemd/penstock-${name}.service DESTINATION ${PENSTOCK_UNIT_DIR} COMPONENT ${name})
    configure_file(${packaging}/debian/changelog.in ${share}/${name}/changelog @ONLY)
    file(COPY_FILE ${CMAKE_SOURCE_DIR}/CHANGELOG.md ${share}/${name}/NEWS ONLY_IF_DIFFERENT)
    foreach(file changelog NEWS)
        execute_process(COMMAND ${GZIP} -9nkf ${share}/${name}/${file} COMMAND_ERROR_IS_FATAL ANY)
    endforeach()
    install(FILES ${share}/${name}/changelog.gz ${share}/${name}/NEWS.gz ${packaging}/debian/copyright
        DESTINATION ${doc} COMPONENT ${name})
    file(WRITE ${share}/${name}/${name}.json "{}\n")
    # Where the unit looks for it, whatever the prefix; one that is there already stays.
    install(CODE "if(NOT EXISTS \"\$ENV{DESTDIR}/etc/penstock/${name}.json\")
        file(INSTALL DESTINATION /etc/penstock TYPE FILE FILES \"${share}/${name}/${name}.json\")
    endif()" COMPONENT ${name})
    if(CMAKE_CROSSCOMPILING AND NOT CMAKE_CROSSCOMPILING_EMULATOR)
        return() # the program cannot be asked
    endif()
    foreach(section 1 5)
        penstock_printed(${name} penstock-${name}.${section} --print-man ${section})
        install(CODE "execute_process(COMMAND ${GZIP} -9nkf ${share}/penstock-${name}.${section})" COMPONENT ${name})
        install(FILES ${share}/penstock-${name}.${section}.gz
            DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section} COMPONENT ${name})
    endforeach()
    foreach(shell bash zsh fish)
        penstock_printed(${name} ${name}.${shell} --print-completion ${shell})
    endforeach()
    install(FILES ${share}/${name}.bash RENAME penstock-${name} COMPONENT ${name}
        DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/bash-completion/completions)
    install(FILES ${share}/${name}.zsh RENAME _penstock-${name} COMPONENT ${name}
        DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/zsh/vendor-completions)
    install(FILES ${share}/${name}.fish RENAME penstock-${name}.fish COMPONENT ${name}
        DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/fish/vendor_completions.d)
endfunction()

# penstock_package(name what): the Debian package of component <name>.
macro(penstock_package name what)
    string(TOUPPER ${name} upper)
    set(NAME ${name})
    set(control)
    foreach(script postinst prerm postrm conffiles)
        configure_file(${packaging}/debian/${script}.in ${CMAKE_BINARY_DIR}/packaging/${name}/${script} @ONLY)
        list(APPEND control ${CMAKE_BINARY_DIR}/packaging/${name}/${script})
        if(NOT script STREQUAL conffiles)
            file(CHMOD ${CMAKE_BINARY_DIR}/packaging/${name}/${script} FILE_PERMISSIONS
                OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
        endif()
    endforeach()
    set(CPACK_DEBIAN_${upper}_PACKAGE_NAME penstock-${name})
    set(CPACK_DEBIAN_${upper}_PACKAGE_CONTROL_EXTRA "${control}")
    set(CPACK_DEBIAN_${upper}_PACKAGE_DEPENDS "adduser, init-system-helpers (>= 1.52)")
    set(CPACK_DEBIAN_${upper}_PACKAGE_RECOMMENDS "ca-certificates")
    set(CPACK_COMPONENT_${upper}_DESCRIPTION "Penstock ${name}, ${what}")
endmacro()

foreach(name edge hub traffic)
    penstock_installed(${name})
endforeach()
get_property(printed GLOBAL PROPERTY PENSTOCK_PRINTED)
if(NOT PENSTOCK_SANITIZE AND NOT PENSTOCK_FUZZ)
    add_custom_target(pages ALL DEPENDS ${printed})
else()
    add_custom_target(pages DEPENDS ${printed})
endif()

penstock_package(edge "public ports at the border of a network
Listens on the TCP and UDP ports that its hub assigns, and carries every
connection and datagram through one tunnel (QUIC, or TLS 1.3) to the hub.
It holds no policy and no certificate.")
penstock_package(hub "registry of edges and end of their tunnels
Keeps the edges, their secrets and ports, ends their tunnels, and forwards
each stream to its target with the address of the client in a PROXY
protocol header.")
penstock_package(traffic "HTTPS ingress by host name
Ends TLS with the certificate of each host, checks basic auth, and proxies
HTTP/1.1, HTTP/2 and WebSockets to the destinations of the route.")
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME penstock)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT ${PENSTOCK_MAINTAINER})
set(CPACK_PACKAGE_DIRECTORY ${CMAKE_BINARY_DIR}/deb)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_ALL edge hub traffic)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE
    WORLD_READ WORLD_EXECUTE)
include(CPack)
