// Package outcome converts the return values of Go functions to the results of the contract.
package outcome

import (
	"errors"

	"go.bytecodealliance.org/pkg/wit/types"
	"wit_component/jackfield_connector_model"
)

type result[T any] = wit_types.Result[T, jackfield_connector_model.Error]

// Of returns the value or, if err is not nil, the error. If err, or an error that it wraps, has the
// method Contract, the returned error has the code, the setting and the wait of that method's result.
// Any other error has the code `internal`.
func Of[T any](value T, err error) result[T] {
	if err == nil {
		return wit_types.Ok[T, jackfield_connector_model.Error](value)
	}
	failure := jackfield_connector_model.Error{Code: jackfield_connector_model.ErrorCodeInternal}
	var contractError interface {
		error
		Contract() jackfield_connector_model.Error
	}
	if errors.As(err, &contractError) {
		failure = contractError.Contract()
	}
	failure.Message = err.Error()
	return wit_types.Err[T](failure)
}

// Done converts the return value of a function that returns only an error.
func Done(err error) result[wit_types.Unit] {
	return Of(wit_types.Unit{}, err)
}
