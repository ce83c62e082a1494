/*
 * attempt.c - subtransactions around a function (see attempt.h).
 *
 * The subtransaction is always ended here, also when the caller is going to throw the error on: whoever catches it then ends his own,
 * not ours.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/resowner.h"

#include "attempt.h"

static ErrorData *
run(void (*fn)(void *arg), void *arg, bool keep)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(caller);
	PG_TRY();
	{
		fn(arg);
		if (keep)
			ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	if (error != NULL || !keep)
		RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(caller);
	CurrentResourceOwner = owner;
	return error;
}

ErrorData *
pgt_attempt(void (*fn)(void *arg), void *arg)
{
	return run(fn, arg, true);
}

ErrorData *
pgt_rehearse(void (*fn)(void *arg), void *arg)
{
	return run(fn, arg, false);
}
