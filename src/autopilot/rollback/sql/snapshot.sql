-- Queries of `rollback/snapshot.py`. Each gives things, one a row: what it is called, whose it is, `facts` (compared as they
-- are), `text` (its words, with names in them) and `shape` (the same by OIDs: renaming what it speaks of does not change it),
-- and `loose` (told, never compared). They are the columns of one statement, so that one round trip reads the whole catalog.
-- %(spaces)s: the OIDs of the schemas that are looked at.

-- name: quiet
-- Full names in every definition, and no compiling of a query that runs once. Answers what stood there before, who we are, and
-- which schemas are looked at.
select current_setting('search_path'), current_setting('jit'), current_user::text,
  (select array_agg(oid) from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'
    and nspname <> all (%(left_out)s::text[]) and (%(schemas)s::text[] is null or nspname = any (%(schemas)s::text[]))),
  set_config('search_path', '', true), set_config('jit', 'off', true)

-- name: loud
select set_config('search_path', %s, true), set_config('jit', %s, true)

-- name: schema
select 'schema' kind, 'pg_namespace' catalog, n.oid::bigint oid, nspname "name",
  pg_get_userbyid(nspowner) "owner", pg_has_role(nspowner, 'MEMBER') ours,
  (select description from pg_description said where said.objoid = n.oid and said.classoid = 'pg_namespace'::regclass and said.objsubid = 0) "comment",
  nspacl is null acl_is_default,
  (select json_agg(json_build_array(case x.grantee when 0 then '' else pg_get_userbyid(x.grantee) end, x.privilege_type,
    x.is_grantable)) from aclexplode(coalesce(nspacl, acldefault('n', nspowner))) x) acl
from pg_namespace n
where n.oid = any (%(spaces)s) and n.oid not in
  (select objid from pg_depend where classid = 'pg_namespace'::regclass and deptype = 'e')

-- name: extension
select 'extension' kind, 'pg_extension' catalog, e.oid::bigint oid, extname "name", pg_get_userbyid(extowner) "owner",
  pg_has_role(extowner, 'MEMBER') ours,
  (select description from pg_description said where said.objoid = e.oid and said.classoid = 'pg_extension'::regclass and said.objsubid = 0) "comment",
  json_build_object('version', extversion, 'in', n.nspname, 'relocatable', extrelocatable) facts
from pg_extension e join pg_namespace n on n.oid = extnamespace

-- name: relation
select case c.relkind when 'v' then 'view' when 'm' then 'matview' when 'f' then 'foreign_table' else 'table' end kind,
  'pg_class' catalog, c.oid::bigint oid, n.nspname "schema", c.relname "name", pg_get_userbyid(c.relowner) "owner",
  pg_has_role(c.relowner, 'MEMBER') ours,
  (select description from pg_description said where said.objoid = c.oid and said.classoid = 'pg_class'::regclass and said.objsubid = 0) "comment", c.relacl is null acl_is_default,
  (select json_agg(json_build_array(case x.grantee when 0 then '' else pg_get_userbyid(x.grantee) end, x.privilege_type,
    x.is_grantable)) from aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) x) acl,
  json_build_object('persistence', c.relpersistence, 'options', c.reloptions, 'rls', c.relrowsecurity,
    'force_rls', c.relforcerowsecurity, 'replica_identity', c.relreplident, 'partition', c.relispartition,
    'method', am.amname, 'toast_options', toast.reloptions, 'populated', c.relispopulated, 'partitioned', c.relkind = 'p',
    'foreign_options', ft.ftoptions) facts,
  json_build_object(
    'definition', case when c.relkind in ('v', 'm') then pg_get_viewdef(c.oid) end,
    'key', case when c.relkind = 'p' then pg_get_partkeydef(c.oid) end,
    'bound', case when c.relispartition then pg_get_expr(c.relpartbound, c.oid) end,
    'parents', case when c.relhassubclass or c.relispartition or i.parents is not null then i.parents end,
    'of_type', case when c.reloftype <> 0 then format_type(c.reloftype, null) end,
    'server', fs.srvname,
    'replica_index', (select x.relname from pg_index r join pg_class x on x.oid = r.indexrelid
      where c.relreplident = 'i' and r.indrelid = c.oid and r.indisreplident),
    'clustered_on', (select x.relname from pg_index r join pg_class x on x.oid = r.indexrelid
      where c.relhasindex and r.indrelid = c.oid and r.indisclustered)) "text",
  case when c.relkind in ('v', 'm') then (select md5(w.ev_action::text) from pg_rewrite w
      where w.ev_class = c.oid and w.rulename = '_RETURN')
    else md5(concat_ws('|', c.relpartbound::text, i.oids, c.reloftype, ft.ftserver,
      (select string_agg(r.indexrelid || r.indisclustered::text, ',') from pg_index r
        where c.relhasindex and r.indrelid = c.oid and (r.indisclustered or r.indisreplident and c.relreplident = 'i'))))
  end shape,
  json_build_object('rows', c.reltuples, 'parents', i.keys, 'attached', case when c.relispartition then
    (select json_agg(x.relname) from pg_index r join pg_class x on x.oid = r.indexrelid
      where r.indrelid = c.oid and x.relispartition) end) loose
from pg_class c join pg_namespace n on n.oid = c.relnamespace
left join pg_am am on am.oid = c.relam and c.relkind in ('r', 'm')
left join pg_class toast on toast.oid = c.reltoastrelid
left join pg_foreign_table ft on ft.ftrelid = c.oid
left join pg_foreign_server fs on fs.oid = ft.ftserver
left join lateral (select json_agg(inhparent::regclass::text order by inhseqno) parents, array_agg(inhparent order by inhseqno)::text
  oids, json_agg('pg_class:' || inhparent order by inhseqno) keys from pg_inherits where inhrelid = c.oid) i on c.relkind in ('r', 'p', 'f')
where c.relkind in ('r', 'p', 'v', 'm', 'f') and c.relpersistence <> 't' and c.relnamespace = any (%(spaces)s) and c.oid not in
  (select objid from pg_depend where classid = 'pg_class'::regclass and deptype = 'e')

-- name: column
select 'column' kind, 'pg_class' catalog, c.oid::bigint oid, a.attnum sub, a.attname "name",
  'pg_class:' || c.oid parent, d.description "comment", a.attacl is null acl_is_default,
  case when a.attacl is not null then
    (select json_agg(json_build_array(case x.grantee when 0 then '' else pg_get_userbyid(x.grantee) end, x.privilege_type,
      x.is_grantable)) from aclexplode(a.attacl) x) end acl,
  json_build_object('of', c.relkind, 'not_null', a.attnotnull, 'identity', a.attidentity, 'generated', a.attgenerated,
    'storage', a.attstorage, 'usual_storage', t.typstorage, 'compression', a.attcompression,
    'statistics', coalesce(a.attstattarget, -1), 'options', a.attoptions, 'foreign_options', a.attfdwoptions,
    'inherited', a.attinhcount > 0, 'sequence', case when s.seqrelid is not null then
      json_build_array(s.seqtypid::regtype::text, s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle) end) facts,
  json_build_object('type', format_type(a.atttypid, a.atttypmod),
    'collation', case when a.attcollation <> t.typcollation then (select quote_ident(o.nspname) || '.' || quote_ident(l.collname)
      from pg_collation l join pg_namespace o on o.oid = l.collnamespace where l.oid = a.attcollation) end,
    'expression', case when a.attgenerated <> '' then pg_get_expr(f.adbin, f.adrelid) end,
    'sequence_name', case when s.seqrelid is not null then s.seqrelid::regclass::text end) "text",
  concat_ws('|', a.atttypid, a.atttypmod, a.attcollation, s.seqrelid, case when a.attgenerated <> '' then md5(f.adbin::text) end) shape,
  json_build_object('number', a.attnum, 'last_value',
    case when s.seqrelid is not null and has_sequence_privilege(s.seqrelid, 'SELECT') then pg_sequence_last_value(s.seqrelid) end) loose
from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
join pg_type t on t.oid = a.atttypid
left join pg_description d on d.classoid = 'pg_class'::regclass and d.objoid = c.oid and d.objsubid = a.attnum
left join pg_attrdef f on f.adrelid = c.oid and f.adnum = a.attnum and a.attgenerated <> ''
left join pg_depend q on a.attidentity <> '' and q.refclassid = 'pg_class'::regclass and q.refobjid = c.oid
  and q.refobjsubid = a.attnum and q.classid = 'pg_class'::regclass and q.deptype = 'i'
left join pg_sequence s on s.seqrelid = q.objid
where c.relkind in ('r', 'p', 'v', 'm', 'f') and c.relpersistence <> 't' and c.relnamespace = any (%(spaces)s) and c.oid not in
  (select objid from pg_depend where classid = 'pg_class'::regclass and deptype = 'e')

-- name: default
select 'default' kind, 'pg_attrdef' catalog, f.oid::bigint oid, 'default' "name", 'pg_class:' || c.oid || ':' || f.adnum parent,
  pg_has_role(c.relowner, 'MEMBER') ours, json_build_object('expression', pg_get_expr(f.adbin, f.adrelid)) "text",
  md5(f.adbin::text) shape
from pg_attrdef f join pg_class c on c.oid = f.adrelid join pg_attribute a on a.attrelid = c.oid and a.attnum = f.adnum
where a.attgenerated = '' and c.relpersistence <> 't' and c.relnamespace = any (%(spaces)s) and c.oid not in
  (select objid from pg_depend where classid = 'pg_class'::regclass and deptype = 'e')

-- name: constraint
select 'constraint' kind, 'pg_constraint' catalog, k.oid::bigint oid, k.conname "name",
  case when k.conrelid <> 0 then 'pg_class:' || k.conrelid else 'pg_type:' || k.contypid end parent,
  pg_has_role(coalesce(c.relowner, t.typowner), 'MEMBER') ours,
  (select description from pg_description said where said.objoid = k.oid and said.classoid = 'pg_constraint'::regclass and said.objsubid = 0) "comment",
  json_build_object('type', k.contype, 'validated', k.convalidated, 'index_options', x.reloptions) facts,
  json_build_object('definition', pg_get_constraintdef(k.oid)) "text",
  concat_ws('|', k.contype, k.conkey::text, k.confrelid, k.confkey::text, md5(k.conbin::text), k.conexclop::text, k.confupdtype,
    k.confdeltype, k.confmatchtype, k.connoinherit, k.condeferrable, k.condeferred, k.convalidated, i.indkey::text) shape,
  json_build_object('refers_to', case when k.confrelid <> 0 then 'pg_class:' || k.confrelid end, 'key', k.conkey,
    'refers_key', k.confkey, 'operators', k.conpfeqop::regoper[]::text[]) loose
from pg_constraint k left join pg_class c on c.oid = k.conrelid left join pg_type t on t.oid = k.contypid
left join pg_class x on x.oid = k.conindid and k.contype in ('p', 'u', 'x') left join pg_index i on i.indexrelid = x.oid
where k.contype in ('c', 'f', 'p', 'u', 'x') and k.conparentid = 0 and (k.conislocal or k.conrelid = 0)
  and coalesce(c.relpersistence, 'p') <> 't' and coalesce(c.relnamespace, t.typnamespace) = any (%(spaces)s)
  and k.conrelid not in (select objid from pg_depend where classid = 'pg_class'::regclass and deptype = 'e')
  and k.contypid not in (select objid from pg_depend where classid = 'pg_type'::regclass and deptype = 'e')

-- name: index
select 'index' kind, 'pg_class' catalog, c.oid::bigint oid, n.nspname "schema", c.relname "name", 'pg_class:' || i.indrelid parent,
  pg_has_role(c.relowner, 'MEMBER') ours,
  (select description from pg_description said where said.objoid = c.oid and said.classoid = 'pg_class'::regclass and said.objsubid = 0) "comment",
  json_build_object('options', c.reloptions, 'valid', i.indisvalid, 'statistics', (select json_agg(
    json_build_array(a.attnum, a.attstattarget)) from pg_attribute a where a.attrelid = c.oid and a.attstattarget >= 0)) facts,
  json_build_object('definition', pg_get_indexdef(c.oid)) "text",
  concat_ws('|', i.indkey::text, i.indclass::text, i.indcollation::text, i.indoption::text, i.indisunique, i.indnkeyatts,
    c.relam, md5(i.indexprs::text), md5(i.indpred::text), to_jsonb(i) ->> 'indnullsnotdistinct') shape,
  json_build_object('of_partitions', case when c.relkind = 'I' then (select json_agg(pg_get_indexdef(t.relid) order by t.relid)
    from pg_partition_tree(c.oid) t where t.isleaf and t.relid <> c.oid) end) loose
from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
where not c.relispartition and c.relpersistence <> 't' and c.relnamespace = any (%(spaces)s) and not exists
  (select from pg_constraint k where k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x')) and i.indrelid not in
  (select objid from pg_depend where classid = 'pg_class'::regclass and deptype = 'e')

-- name: sequence
select 'sequence' kind, 'pg_class' catalog, c.oid::bigint oid, n.nspname "schema", c.relname "name",
  case when o.refobjid is not null then 'pg_class:' || o.refobjid || ':' || o.refobjsubid end owned_by,
  pg_get_userbyid(c.relowner) "owner", pg_has_role(c.relowner, 'MEMBER') ours,
  (select description from pg_description said where said.objoid = c.oid and said.classoid = 'pg_class'::regclass and said.objsubid = 0) "comment",
  c.relacl is null acl_is_default,
  (select json_agg(json_build_array(case x.grantee when 0 then '' else pg_get_userbyid(x.grantee) end, x.privilege_type,
    x.is_grantable)) from aclexplode(coalesce(c.relacl, acldefault('s', c.relowner))) x) acl,
  json_build_object('type', s.seqtypid::regtype::text, 'start', s.seqstart, 'increment', s.seqincrement, 'min', s.seqmin,
    'max', s.seqmax, 'cache', s.seqcache, 'cycle', s.seqcycle, 'persistence', c.relpersistence) facts,
  json_build_object('owned_by', case when o.refobjid is not null then o.refobjid::regclass::text || '.' || quote_ident(a.attname) end)
    "text", concat_ws('|', o.refobjid, o.refobjsubid) shape,
  json_build_object('last_value', case when has_sequence_privilege(c.oid, 'SELECT') then pg_sequence_last_value(c.oid) end) loose
from pg_sequence s join pg_class c on c.oid = s.seqrelid join pg_namespace n on n.oid = c.relnamespace
left join pg_depend o on o.classid = 'pg_class'::regclass and o.objid = c.oid and o.refclassid = 'pg_class'::regclass and o.deptype = 'a'
left join pg_attribute a on a.attrelid = o.refobjid and a.attnum = o.refobjsubid
where c.relpersistence <> 't' and c.relnamespace = any (%(spaces)s) and not exists
  (select from pg_depend e where e.classid = 'pg_class'::regclass and e.objid = c.oid and e.deptype in ('e', 'i'))

-- name: function
select case p.prokind when 'p' then 'procedure' when 'a' then 'aggregate' else 'function' end kind, 'pg_proc' catalog, p.oid::bigint oid,
  n.nspname "schema", p.proname "name", '(' || oidvectortypes(p.proargtypes) || ')' tag, pg_get_userbyid(p.proowner) "owner",
  pg_has_role(p.proowner, 'MEMBER') ours,
  (select description from pg_description said where said.objoid = p.oid and said.classoid = 'pg_proc'::regclass and said.objsubid = 0) "comment", p.proacl is null acl_is_default,
  (select json_agg(json_build_array(case x.grantee when 0 then '' else pg_get_userbyid(x.grantee) end, x.privilege_type,
    x.is_grantable)) from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x) acl,
  json_build_object('defaults', p.pronargdefaults) facts,
  json_build_object('definition', case when p.prokind <> 'a' then pg_get_functiondef(p.oid) end,
    'arguments', pg_get_function_identity_arguments(p.oid), 'result', pg_get_function_result(p.oid), 'aggregate',
    case when g.aggfnoid is not null then json_build_object('kind', g.aggkind, 'parallel', p.proparallel,
      'sfunc', g.aggtransfn::regproc::text, 'stype', format_type(g.aggtranstype, null), 'sspace', nullif(g.aggtransspace, 0),
      'finalfunc', nullif(g.aggfinalfn::oid, 0)::regproc::text, 'finalfunc_extra', g.aggfinalextra,
      'finalfunc_modify', g.aggfinalmodify, 'combinefunc', nullif(g.aggcombinefn::oid, 0)::regproc::text,
      'serialfunc', nullif(g.aggserialfn::oid, 0)::regproc::text, 'deserialfunc', nullif(g.aggdeserialfn::oid, 0)::regproc::text,
      'initcond', g.agginitval, 'msfunc', nullif(g.aggmtransfn::oid, 0)::regproc::text,
      'minvfunc', nullif(g.aggminvtransfn::oid, 0)::regproc::text,
      'mstype', case when g.aggmtranstype <> 0 then format_type(g.aggmtranstype, null) end,
      'mfinalfunc', nullif(g.aggmfinalfn::oid, 0)::regproc::text, 'minitcond', g.aggminitval,
      'sortop', (select o.nspname || '.' || r.oprname from pg_operator r join pg_namespace o on o.oid = r.oprnamespace
        where r.oid = g.aggsortop)) end) "text",
  md5(concat_ws('|', p.prosrc, p.probin, p.prosqlbody::text, p.prorettype, p.proargtypes::text, p.proallargtypes::text,
    p.proargmodes::text, p.proargnames::text, p.proargdefaults::text, p.provolatile, p.prosecdef, p.proleakproof, p.proisstrict,
    p.proretset, p.proparallel, p.procost, p.prorows, p.proconfig::text, p.prosupport::oid, p.prolang, p.prokind,
    to_jsonb(g)::text)) shape
from pg_proc p join pg_namespace n on n.oid = p.pronamespace left join pg_aggregate g on g.aggfnoid = p.oid
where p.pronamespace = any (%(spaces)s) and not exists
  (select from pg_depend e where e.classid = 'pg_proc'::regclass and e.objid = p.oid and e.deptype in ('e', 'i'))

-- name: type
select case t.typtype when 'e' then 'enum' when 'd' then 'domain' when 'c' then 'composite' when 'r' then 'range' else 'base_type' end
    kind, 'pg_type' catalog, t.oid::bigint oid, n.nspname "schema", t.typname "name", pg_get_userbyid(t.typowner) "owner",
  pg_has_role(t.typowner, 'MEMBER') ours,
  (select description from pg_description said where said.objoid = t.oid and said.classoid = 'pg_type'::regclass and said.objsubid = 0) "comment", t.typacl is null acl_is_default,
  (select json_agg(json_build_array(case x.grantee when 0 then '' else pg_get_userbyid(x.grantee) end, x.privilege_type,
    x.is_grantable)) from aclexplode(coalesce(t.typacl, acldefault('T', t.typowner))) x) acl,
  json_build_object('labels', (select json_agg(l.enumlabel order by l.enumsortorder) from pg_enum l where l.enumtypid = t.oid),
    'not_null', t.typnotnull) facts,
  json_build_object('of', case when t.typtype = 'd' then format_type(t.typbasetype, t.typtypmod) end,
    'default', case when t.typtype = 'd' then t.typdefault end,
    'collation', case when t.typtype = 'd' and t.typcollation <> b.typcollation then (select quote_ident(o.nspname) || '.'
      || quote_ident(l.collname) from pg_collation l join pg_namespace o on o.oid = l.collnamespace where l.oid = t.typcollation) end,
    'attributes', case when t.typtype = 'c' then (select json_agg(json_build_array(a.attname, format_type(a.atttypid, a.atttypmod),
      case when a.attcollation <> y.typcollation then a.attcollation::regcollation::text end) order by a.attnum)
      from pg_attribute a join pg_type y on y.oid = a.atttypid
      where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped) end,
    'range', case when r.rngtypid is not null then json_build_object('subtype', format_type(r.rngsubtype, null),
      'subtype_opclass', (select quote_ident(o.nspname) || '.' || quote_ident(c.opcname) from pg_opclass c join pg_namespace o
        on o.oid = c.opcnamespace where c.oid = r.rngsubopc and not c.opcdefault),
      'collation', case when r.rngcollation <> 0 then r.rngcollation::regcollation::text end,
      'canonical', nullif(r.rngcanonical::oid, 0)::regproc::text, 'subtype_diff', nullif(r.rngsubdiff::oid, 0)::regproc::text) end) "text",
  concat_ws('|', t.typtype, t.typbasetype, t.typtypmod, t.typdefault, t.typcollation, to_jsonb(r)::text,
    (select string_agg(concat_ws(' ', a.attnum, a.attname, a.atttypid, a.atttypmod, a.attcollation), ',' order by a.attnum)
      from pg_attribute a where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped)) shape,
  json_build_object('labels', (select json_object_agg(l.oid, l.enumlabel) from pg_enum l where l.enumtypid = t.oid),
    'attributes', case when t.typtype = 'c' then (select json_object_agg(a.attnum, a.attname) from pg_attribute a
      where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped) end) loose
from pg_type t join pg_namespace n on n.oid = t.typnamespace left join pg_range r on r.rngtypid = t.oid
left join pg_type b on b.oid = t.typbasetype left join pg_class c on c.oid = t.typrelid
where (t.typtype in ('e', 'd', 'r') or t.typtype = 'c' and c.relkind = 'c'
    or t.typtype = 'b' and not exists (select from pg_type y where y.typarray = t.oid))
  and t.typnamespace = any (%(spaces)s) and t.oid not in
  (select objid from pg_depend where classid = 'pg_type'::regclass and deptype = 'e')

-- name: trigger
select 'trigger' kind, 'pg_trigger' catalog, t.oid::bigint oid, t.tgname "name", 'pg_class:' || c.oid parent,
  pg_has_role(c.relowner, 'MEMBER') ours,
  (select description from pg_description said where said.objoid = t.oid and said.classoid = 'pg_trigger'::regclass and said.objsubid = 0) "comment",
  json_build_object('enabled', t.tgenabled) facts,
  json_build_object('definition', pg_get_triggerdef(t.oid)) "text",
  concat_ws('|', t.tgfoid, t.tgtype, t.tgattr::text, encode(t.tgargs, 'hex'), md5(t.tgqual::text), t.tgdeferrable, t.tginitdeferred,
    t.tgconstrrelid, t.tgoldtable, t.tgnewtable) shape
from pg_trigger t join pg_class c on c.oid = t.tgrelid
where not t.tgisinternal and t.tgparentid = 0 and c.relpersistence <> 't' and c.relnamespace = any (%(spaces)s) and not exists
  (select from pg_depend e where e.deptype = 'e' and (e.classid = 'pg_trigger'::regclass and e.objid = t.oid
    or e.classid = 'pg_class'::regclass and e.objid = c.oid))

-- name: rule
select 'rule' kind, 'pg_rewrite' catalog, w.oid::bigint oid, w.rulename "name", 'pg_class:' || c.oid parent,
  pg_has_role(c.relowner, 'MEMBER') ours,
  (select description from pg_description said where said.objoid = w.oid and said.classoid = 'pg_rewrite'::regclass and said.objsubid = 0) "comment",
  json_build_object('enabled', w.ev_enabled) facts, json_build_object('definition', pg_get_ruledef(w.oid)) "text",
  md5(concat_ws('|', w.ev_type, w.is_instead, w.ev_qual::text, w.ev_action::text)) shape
from pg_rewrite w join pg_class c on c.oid = w.ev_class
where w.rulename <> '_RETURN' and c.relnamespace = any (%(spaces)s)

-- name: policy
select 'policy' kind, 'pg_policy' catalog, p.oid::bigint oid, p.polname "name", 'pg_class:' || c.oid parent,
  pg_has_role(c.relowner, 'MEMBER') ours,
  (select description from pg_description said where said.objoid = p.oid and said.classoid = 'pg_policy'::regclass and said.objsubid = 0) "comment",
  json_build_object('command', p.polcmd, 'permissive', p.polpermissive, 'roles', (select json_agg(case r when 0 then '' else
    pg_get_userbyid(r) end order by r) from unnest(p.polroles) r)) facts,
  json_build_object('using', pg_get_expr(p.polqual, c.oid), 'check', pg_get_expr(p.polwithcheck, c.oid)) "text",
  md5(concat_ws('|', 'u', p.polqual::text, 'c', p.polwithcheck::text)) shape
from pg_policy p join pg_class c on c.oid = p.polrelid
where c.relnamespace = any (%(spaces)s)

-- name: statistics
select 'statistics' kind, 'pg_statistic_ext' catalog, s.oid::bigint oid, n.nspname "schema", s.stxname "name", 'pg_class:' || s.stxrelid on_table,
  pg_get_userbyid(s.stxowner) "owner", pg_has_role(s.stxowner, 'MEMBER') ours,
  (select description from pg_description said where said.objoid = s.oid and said.classoid = 'pg_statistic_ext'::regclass and said.objsubid = 0) "comment",
  json_build_object('target', coalesce(s.stxstattarget, -1)) facts,
  json_build_object('definition', pg_get_statisticsobjdef(s.oid)) "text",
  concat_ws('|', s.stxrelid, s.stxkeys::text, s.stxkind::text, md5(to_jsonb(s) ->> 'stxexprs')) shape
from pg_statistic_ext s join pg_namespace n on n.oid = s.stxnamespace
where s.stxnamespace = any (%(spaces)s)

-- name: collation
select 'collation' kind, 'pg_collation' catalog, c.oid::bigint oid, n.nspname "schema", c.collname "name", pg_get_userbyid(c.collowner) "owner",
  pg_has_role(c.collowner, 'MEMBER') ours,
  (select description from pg_description said where said.objoid = c.oid and said.classoid = 'pg_collation'::regclass and said.objsubid = 0) "comment",
  json_build_object('provider', c.collprovider, 'deterministic', c.collisdeterministic, 'lc_collate', c.collcollate,
    'lc_ctype', c.collctype, 'locale', coalesce(to_jsonb(c) ->> 'colllocale', to_jsonb(c) ->> 'colliculocale'),
    'rules', to_jsonb(c) ->> 'collicurules') facts
from pg_collation c join pg_namespace n on n.oid = c.collnamespace
where c.collnamespace = any (%(spaces)s) and c.oid not in
  (select objid from pg_depend where classid = 'pg_collation'::regclass and deptype = 'e')

-- name: operator
select 'operator' kind, 'pg_operator' catalog, o.oid::bigint oid, n.nspname "schema", o.oprname "name",
  '(' || case o.oprleft when 0 then 'NONE' else format_type(o.oprleft, null) end || ', ' || case o.oprright when 0 then 'NONE' else
    format_type(o.oprright, null) end || ')' tag, pg_get_userbyid(o.oprowner) "owner", pg_has_role(o.oprowner, 'MEMBER') ours,
  
  (select description from pg_description said where said.objoid = o.oid and said.classoid = 'pg_operator'::regclass and said.objsubid = 0) "comment",
  json_build_object('hashes', o.oprcanhash, 'merges', o.oprcanmerge) facts,
  json_build_object('function', o.oprcode::regproc::text, 'left', case when o.oprleft <> 0 then format_type(o.oprleft, null) end,
    'right', case when o.oprright <> 0 then format_type(o.oprright, null) end,
    'restrict', nullif(o.oprrest::oid, 0)::regproc::text, 'join', nullif(o.oprjoin::oid, 0)::regproc::text,
    'commutator', (select quote_ident(m.nspname) || '.' || c.oprname from pg_operator c join pg_namespace m on m.oid = c.oprnamespace
      where c.oid = o.oprcom),
    'negator', (select quote_ident(m.nspname) || '.' || c.oprname from pg_operator c join pg_namespace m on m.oid = c.oprnamespace
      where c.oid = o.oprnegate)) "text",
  concat_ws('|', o.oprcode::oid, o.oprrest::oid, o.oprjoin::oid, o.oprcom, o.oprnegate) shape
from pg_operator o join pg_namespace n on n.oid = o.oprnamespace
where o.oprcode <> 0 and o.oprnamespace = any (%(spaces)s) and o.oid not in
  (select objid from pg_depend where classid = 'pg_operator'::regclass and deptype = 'e')

-- name: operator_class
select 'operator_class' kind, 'pg_opclass' catalog, o.oid::bigint oid, n.nspname "schema", o.opcname "name", ' using ' || a.amname tag,
  pg_get_userbyid(o.opcowner) "owner", pg_has_role(o.opcowner, 'MEMBER') ours,
  (select description from pg_description said where said.objoid = o.oid and said.classoid = 'pg_opclass'::regclass and said.objsubid = 0) "comment",
  json_build_object('default', o.opcdefault, 'method', a.amname) facts,
  json_build_object('type', format_type(o.opcintype, null), 'family', f.opfname) "text", concat_ws('|', o.opcfamily, o.opcintype) shape
from pg_opclass o join pg_namespace n on n.oid = o.opcnamespace join pg_am a on a.oid = o.opcmethod
join pg_opfamily f on f.oid = o.opcfamily
where o.opcnamespace = any (%(spaces)s) and o.oid not in
  (select objid from pg_depend where classid = 'pg_opclass'::regclass and deptype = 'e')

-- name: cast
select 'cast' kind, 'pg_cast' catalog, c.oid::bigint oid, '(' || format_type(c.castsource, null) || ' AS ' || format_type(c.casttarget, null) || ')'
    "name",
  (select description from pg_description said where said.objoid = c.oid and said.classoid = 'pg_cast'::regclass and said.objsubid = 0) "comment",
  json_build_object('context', c.castcontext, 'method', c.castmethod) facts,
  json_build_object('function', case when c.castfunc <> 0 then c.castfunc::regprocedure::text end) "text",
  concat_ws('|', c.castfunc, c.castsource, c.casttarget) shape
from pg_cast c
where c.oid >= 16384 and not exists
  (select from pg_depend e where e.classid = 'pg_cast'::regclass and e.objid = c.oid and e.deptype in ('e', 'i'))

-- name: text_search
select 'text_search_configuration' kind, 'pg_ts_config' catalog, c.oid::bigint oid, n.nspname "schema", c.cfgname "name",
  pg_get_userbyid(c.cfgowner) "owner", pg_has_role(c.cfgowner, 'MEMBER') ours,
  (select description from pg_description said where said.objoid = c.oid and said.classoid = 'pg_ts_config'::regclass and said.objsubid = 0) "comment",
  json_build_object('parser', (select quote_ident(m.nspname) || '.' || quote_ident(p.prsname) from pg_ts_parser p
      join pg_namespace m on m.oid = p.prsnamespace where p.oid = c.cfgparser),
    'mappings', (select json_agg(json_build_array(y.alias, m.mapdict::regdictionary::text) order by m.maptokentype, m.mapseqno)
      from pg_ts_config_map m join lateral ts_token_type(c.cfgparser) y on y.tokid = m.maptokentype where m.mapcfg = c.oid)) "text",
  concat_ws('|', c.cfgparser, (select string_agg(concat_ws(' ', m.maptokentype, m.mapseqno, m.mapdict), ',' order by m.maptokentype,
    m.mapseqno) from pg_ts_config_map m where m.mapcfg = c.oid)) shape
from pg_ts_config c join pg_namespace n on n.oid = c.cfgnamespace
where c.cfgnamespace = any (%(spaces)s) and c.oid not in
  (select objid from pg_depend where classid = 'pg_ts_config'::regclass and deptype = 'e')

-- name: dictionary
select 'text_search_dictionary' kind, 'pg_ts_dict' catalog, d.oid::bigint oid, n.nspname "schema", d.dictname "name",
  pg_get_userbyid(d.dictowner) "owner", pg_has_role(d.dictowner, 'MEMBER') ours,
  (select description from pg_description said where said.objoid = d.oid and said.classoid = 'pg_ts_dict'::regclass and said.objsubid = 0) "comment",
  json_build_object('template', quote_ident(m.nspname) || '.' || quote_ident(t.tmplname), 'options', d.dictinitoption) facts
from pg_ts_dict d join pg_namespace n on n.oid = d.dictnamespace join pg_ts_template t on t.oid = d.dicttemplate
join pg_namespace m on m.oid = t.tmplnamespace
where d.dictnamespace = any (%(spaces)s) and d.oid not in
  (select objid from pg_depend where classid = 'pg_ts_dict'::regclass and deptype = 'e')

-- name: event_trigger
select 'event_trigger' kind, 'pg_event_trigger' catalog, e.oid::bigint oid, e.evtname "name", pg_get_userbyid(e.evtowner) "owner",
  pg_has_role(e.evtowner, 'MEMBER') ours,
  (select description from pg_description said where said.objoid = e.oid and said.classoid = 'pg_event_trigger'::regclass and said.objsubid = 0) "comment",
  json_build_object('event', e.evtevent, 'enabled', e.evtenabled, 'tags', e.evttags) facts,
  json_build_object('function', e.evtfoid::regproc::text) "text", e.evtfoid::text shape
from pg_event_trigger e
where not exists (select from pg_depend d where d.classid = 'pg_event_trigger'::regclass and d.objid = e.oid and d.deptype = 'e')

-- name: publication
select 'publication' kind, 'pg_publication' catalog, p.oid::bigint oid, p.pubname "name", pg_get_userbyid(p.pubowner) "owner",
  pg_has_role(p.pubowner, 'MEMBER') ours,
  (select description from pg_description said where said.objoid = p.oid and said.classoid = 'pg_publication'::regclass and said.objsubid = 0) "comment",
  json_build_object('all_tables', p.puballtables, 'insert', p.pubinsert, 'update', p.pubupdate, 'delete', p.pubdelete,
    'truncate', p.pubtruncate, 'via_root', p.pubviaroot) facts
from pg_publication p

-- name: publication_table
select 'publication_table' kind, 'pg_publication_rel' catalog, r.oid::bigint oid, r.prrelid::regclass::text "name",
  'pg_publication:' || r.prpubid parent, pg_has_role(p.pubowner, 'MEMBER') ours,
  json_build_object('where', pg_get_expr(r.prqual, r.prrelid), 'columns',
    (select json_agg(a.attname order by a.attnum) from pg_attribute a where a.attrelid = r.prrelid
      and a.attnum::text = any (string_to_array(r.prattrs::text, ' ')))) "text",
  concat_ws('|', r.prpubid, r.prrelid, r.prattrs::text, md5(r.prqual::text)) shape,
  'pg_class:' || r.prrelid on_table
from pg_publication_rel r join pg_publication p on p.oid = r.prpubid join pg_class c on c.oid = r.prrelid
where c.relnamespace = any (%(spaces)s)

-- name: foreign_data_wrapper
select 'foreign_data_wrapper' kind, 'pg_foreign_data_wrapper' catalog, w.oid::bigint oid, w.fdwname "name", pg_get_userbyid(w.fdwowner) "owner",
  pg_has_role(w.fdwowner, 'MEMBER') ours,
  (select description from pg_description said where said.objoid = w.oid and said.classoid = 'pg_foreign_data_wrapper'::regclass and said.objsubid = 0) "comment", w.fdwacl is null acl_is_default,
  (select json_agg(json_build_array(case x.grantee when 0 then '' else pg_get_userbyid(x.grantee) end, x.privilege_type,
    x.is_grantable)) from aclexplode(coalesce(w.fdwacl, acldefault('F', w.fdwowner))) x) acl,
  json_build_object('options', w.fdwoptions) facts,
  json_build_object('handler', nullif(w.fdwhandler, 0)::regproc::text, 'validator', nullif(w.fdwvalidator, 0)::regproc::text) "text",
  concat_ws('|', w.fdwhandler, w.fdwvalidator) shape
from pg_foreign_data_wrapper w where not exists
  (select from pg_depend e where e.classid = 'pg_foreign_data_wrapper'::regclass and e.objid = w.oid and e.deptype = 'e')

-- name: server
select 'server' kind, 'pg_foreign_server' catalog, s.oid::bigint oid, s.srvname "name", pg_get_userbyid(s.srvowner) "owner",
  pg_has_role(s.srvowner, 'MEMBER') ours,
  (select description from pg_description said where said.objoid = s.oid and said.classoid = 'pg_foreign_server'::regclass and said.objsubid = 0) "comment", s.srvacl is null acl_is_default,
  (select json_agg(json_build_array(case x.grantee when 0 then '' else pg_get_userbyid(x.grantee) end, x.privilege_type,
    x.is_grantable)) from aclexplode(coalesce(s.srvacl, acldefault('S', s.srvowner))) x) acl,
  json_build_object('type', s.srvtype, 'version', s.srvversion, 'options', s.srvoptions) facts,
  json_build_object('wrapper', w.fdwname) "text", s.srvfdw::text shape
from pg_foreign_server s join pg_foreign_data_wrapper w on w.oid = s.srvfdw where not exists
  (select from pg_depend e where e.classid = 'pg_foreign_server'::regclass and e.objid = s.oid and e.deptype = 'e')

-- name: user_mapping
-- Without its options: they hold passwords.
select 'user_mapping' kind, 'pg_user_mapping' catalog, u.umid::bigint oid, u.usename "name", 'pg_foreign_server:' || u.srvid parent
from pg_user_mappings u

-- name: default_privileges
select 'default_privileges' kind, 'pg_default_acl' catalog, d.oid::bigint oid,
  concat_ws(' ', pg_get_userbyid(d.defaclrole), d.defaclobjtype, n.nspname) "name", pg_has_role(d.defaclrole, 'MEMBER') ours,
  json_build_object('role', pg_get_userbyid(d.defaclrole), 'in', n.nspname, 'objects', d.defaclobjtype) facts,
  (select json_agg(json_build_array(case x.grantee when 0 then '' else pg_get_userbyid(x.grantee) end, x.privilege_type,
    x.is_grantable)) from aclexplode(d.defaclacl) x) acl,
  json_build_object('usual', case when d.defaclnamespace = 0 then (select json_agg(json_build_array(case x.grantee when 0 then '' else
    pg_get_userbyid(x.grantee) end, x.privilege_type, x.is_grantable)) from aclexplode(acldefault(
      case d.defaclobjtype when 'S' then 's' else d.defaclobjtype end, d.defaclrole)) x) end) loose
from pg_default_acl d left join pg_namespace n on n.oid = d.defaclnamespace
where d.defaclnamespace = 0 or d.defaclnamespace = any (%(spaces)s)

-- name: edges
-- Who needs whom, as "class,object,part,class,object,part;…", by the OIDs of catalogs; read so because there are many.
select string_agg(concat_ws(',', classid, objid, objsubid, refclassid, refobjid, refobjsubid), ';') edges
from pg_depend where objid >= 16384 and refobjid >= 16384 and deptype in ('n', 'a', 'i', 'P', 'S', 'x')

-- name: alias
-- What stands in the catalog for something else: "class,object,class,object,part;…". A view instead of its rule, a table instead
-- of its row type, a constraint instead of its index, an extension instead of its members.
select string_agg(concat_ws(',', class, object, for_class, for_object, for_part), ';') from (
  select 'pg_type'::regclass::oid class, t.oid object, case when t.typrelid <> 0 or e.typrelid <> 0 and ec.relkind <> 'c' then 1259 else 1247 end
      for_class, coalesce(nullif(t.typrelid, 0), case when ec.relkind <> 'c' then ec.oid end, e.oid, m.rngtypid) for_object, 0 for_part
  from pg_type t left join pg_class c on c.oid = t.typrelid
  left join pg_type e on e.typarray = t.oid left join pg_class ec on ec.oid = e.typrelid
  left join pg_range m on to_jsonb(m) ->> 'rngmultitypid' = t.oid::text
  where t.oid >= 16384 and (t.typrelid <> 0 and c.relkind <> 'c' or e.oid is not null or m.rngtypid is not null)
  union all
  select 1259, c.oid, 1247, c.reltype, 0 from pg_class c where c.relkind = 'c' and c.oid >= 16384
  union all
  select 'pg_rewrite'::regclass, oid, 1259, ev_class, 0 from pg_rewrite where rulename = '_RETURN' and oid >= 16384
  union all
  select 'pg_attrdef'::regclass, f.oid, 1259, f.adrelid, f.adnum from pg_attrdef f
  where exists (select from pg_attribute a where a.attrelid = f.adrelid and a.attnum = f.adnum and a.attgenerated <> '')
  union all
  select 'pg_trigger'::regclass, oid, 2606, tgconstraint, 0 from pg_trigger where tgisinternal and tgconstraint <> 0
  union all
  select 1259, conindid, 2606, oid, 0 from pg_constraint where contype in ('p', 'u', 'x') and conindid <> 0
  union all
  select 1259, objid, 1259, refobjid, refobjsubid from pg_depend
  where classid = 'pg_class'::regclass and refclassid = 'pg_class'::regclass and refobjsubid > 0 and deptype = 'i'
  union all
  select classid, objid, 3079, refobjid, 0 from pg_depend where deptype = 'e' and refclassid = 'pg_extension'::regclass and objid >= 16384
) x

-- name: classes
select json_object_agg(oid, relname)::text from pg_class where relnamespace = 'pg_catalog'::regnamespace and relkind = 'r'

-- name: labels
select case when l.objsubid > 0 then l.classoid::regclass::text || ':' || l.objoid || ':' || l.objsubid
  else l.classoid::regclass::text || ':' || l.objoid end key, l.provider, l.label
from pg_seclabel l where l.objoid >= 16384
