"""The data types a field can have; each turns ops into rows, in any order of arrival (TYPE)."""
