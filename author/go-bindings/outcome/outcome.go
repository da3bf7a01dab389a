// Package outcome turns what Go functions return into the results of the contract.
package outcome

import (
	"errors"

	"go.bytecodealliance.org/pkg/wit/types"
	"wit_component/jackfield_connector_model"
)

type result[T any] = wit_types.Result[T, jackfield_connector_model.Error]

// Of returns the value, or the error. An error that has no error of the contract is `internal`.
func Of[T any](value T, err error) result[T] {
	if err == nil {
		return wit_types.Ok[T, jackfield_connector_model.Error](value)
	}
	failure := jackfield_connector_model.Error{Code: jackfield_connector_model.ErrorCodeInternal}
	var given interface {
		error
		Contract() jackfield_connector_model.Error
	}
	if errors.As(err, &given) {
		failure = given.Contract()
	}
	failure.Message = err.Error()
	return wit_types.Err[T](failure)
}

// Done returns success, or the error.
func Done(err error) result[wit_types.Unit] {
	return Of(wit_types.Unit{}, err)
}
