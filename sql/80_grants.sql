-- again {
-- What only trickle-consumer calls: the functions of 20 to 75 whose names begin so.
DO $$
DECLARE
    f regprocedure;
BEGIN
    FOR f IN SELECT p.oid::regprocedure FROM pg_catalog.pg_proc p
              WHERE p.pronamespace = 'pgtrickle'::regnamespace AND p.proname ~ '^_(refresh|consumer|mark|flush|history|log|fuse_blown|policy)' LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO pgtrickle_consumer', f);
    END LOOP;
END
$$;
-- }
