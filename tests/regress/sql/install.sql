-- What CREATE EXTENSION makes, and that it asks for nothing.
SELECT extname, nspname, extrelocatable FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'pg_trickle';
SELECT rolcanlogin, rolsuper, rolreplication FROM pg_roles WHERE rolname = 'pgtrickle_consumer';
-- Nothing of the buffers is readable by everyone.
SELECT count(*) FROM pg_class WHERE relnamespace = 'pgtrickle_changes'::regnamespace AND has_table_privilege('public', oid, 'SELECT');
-- SECURITY DEFINER functions pin their search_path.
SELECT proname FROM pg_proc WHERE pronamespace = 'pgtrickle'::regnamespace AND prosecdef
   AND NOT EXISTS (SELECT FROM unnest(proconfig) c WHERE c LIKE 'search_path=%') ORDER BY 1;
-- Functions that serve the consumer are not for everyone.
SELECT proname FROM pg_proc WHERE pronamespace = 'pgtrickle'::regnamespace AND proname ~ '^_(consumer_|refresh_(begin|apply|failed)|mark_full)'
   AND has_function_privilege('public', oid, 'EXECUTE') ORDER BY 1;
