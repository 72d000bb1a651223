# cmake --install build/release --prefix P: the program with all that it can be tried on, so that P may be
# moved and the sources deleted.
install(TARGETS tandem RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})

# The manual and the completion are made by the very program that is installed: they cannot be stale.
install(CODE "
  function(tandem_print flag path)
    execute_process(COMMAND \"$<TARGET_FILE:tandem>\" \${flag}
      OUTPUT_FILE \"${PROJECT_BINARY_DIR}/\${path}\" COMMAND_ERROR_IS_FATAL ANY)
  endfunction()
  file(MAKE_DIRECTORY \"${PROJECT_BINARY_DIR}/install\")
  tandem_print(--man-page install/tandem.1)
  tandem_print(--bash-completion install/tandem)
")
install(FILES ${PROJECT_BINARY_DIR}/install/tandem.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${PROJECT_BINARY_DIR}/install/tandem
  DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)

install(DIRECTORY ${PROJECT_SOURCE_DIR}/configs ${PROJECT_SOURCE_DIR}/examples
  DESTINATION ${CMAKE_INSTALL_DATADIR}/tandem)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/models/demo
  DESTINATION ${CMAKE_INSTALL_DATADIR}/tandem/models)
install(FILES ${PROJECT_SOURCE_DIR}/README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/docs DESTINATION ${CMAKE_INSTALL_DOCDIR}
  FILES_MATCHING PATTERN "*.md")
