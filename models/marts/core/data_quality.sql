with outcomes as (
    {%- for table in perennial.contract_tables() %}
    select
        '{{ table }}' as table_name,
        'staged' as outcome,
        count(*) as n_rows
    from {{ ref('stg_' ~ table) }}
    union all
    {%- endfor %}
    select
        table_name,
        reason as outcome,
        count(*) as n_rows
    from {{ ref('quarantine') }}
    group by all
)

select
    cast(table_name as string) as table_name,
    cast(outcome as string) as outcome,
    cast(n_rows as bigint) as n_rows,
    cast(
        n_rows
        / nullif(
            cast(sum(n_rows) over (partition by table_name) as double), 0
        ) as double
    ) as share_of_table
from outcomes
