{#- Every raw row of a table is staged or in quarantine. -#}
{% test nothing_lost(model, table) %}
{%- set relation = perennial.raw(table) -%}
{%- if execute -%}
    {%- set found = perennial.raw_columns(table, relation) -%}
    {%- set relation = perennial.without_forgotten(table, relation, found) -%}
{%- endif -%}
with counted as (
    select
        {% if relation is none %}0{% else %}(select count(*) from {{ relation }} as raw_table){% endif %} as n_raw,
        (select count(*) from {{ model }}) as n_staged,
        (
            select count(*)
            from {{ ref('perennial', 'quarantine') }}
            where table_name = '{{ table }}' and reason <> 'unreadable line'
        ) as n_quarantined
)

select *
from counted
where n_raw <> n_staged + n_quarantined
{% endtest %}
