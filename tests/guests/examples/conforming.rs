//! A connector that follows `wit/connector.wit`, so that `jackfield test` finds no mistake in it.

jackfield_test_guests::conforming!(NoMistake);
