// Package postgres is what the packages that keep tables in Postgres share: bringing
// their schema up to date, and telling what a driver's error says of a transaction.
package postgres
