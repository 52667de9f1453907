{#-
No more of a table's rows are refused than the setting max_quarantine_share allows. When it
fails, dbt skips whatever is built on the table and on `clock`, which waits for `quarantine`:
every mart that uses the table, but not `quarantine` itself, where the rows can be looked at.
-#}
{% test enough_is_staged(model, table) %}
with counted as (
    select
        (select count(*) from {{ model }}) as n_staged,
        (
            select count(*)
            from {{ ref('perennial', 'quarantine') }}
            where table_name = '{{ table }}'
        ) as n_refused
)

select *
from counted
where n_refused > {{ perennial.setting('max_quarantine_share') }} * (n_staged + n_refused)
{% endtest %}
