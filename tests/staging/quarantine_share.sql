-- A table of which too much was refused stops the build: downstream numbers would be wrong.
{{ config(severity='error') }}
{%- set share = perennial.setting('max_quarantine_share') %}

with refused as (
    select
        table_name,
        count(*) as n_quarantined
    from {{ ref('perennial', 'quarantine') }}
    group by all
),

staged as (
    {%- for table in perennial.contract_tables() %}
    select
        '{{ table }}' as table_name,
        count(*) as n_staged
    from {{ ref('perennial', 'stg_' ~ table) }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
)

select
    staged.table_name,
    staged.n_staged,
    refused.n_quarantined
from staged
inner join refused using (table_name)
where refused.n_quarantined > {{ share }} * (staged.n_staged + refused.n_quarantined)
