with sides as (
    {%- for side in ['antecedent', 'consequent'] %}
    select
        {{ perennial.rule_id() | indent(8) }} as rule_id,
        '{{ side }}' as side,
        unnest({{ side }}) as product_id
    from {{ ref('py_association_rules') }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
)

select
    cast(rule_id as string) as rule_id,
    cast(side as string) as side,
    cast(product_id as string) as product_id
from sides
